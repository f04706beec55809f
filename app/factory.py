"""The only wiring: settings → state → store → predictor → blueprints."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import metadata

from flask import Flask

from app import logs
from app.answers import Answers
from app.backends.choice import OpenclOptions
from app.batching.budget import Budget
from app.blueprints import errors, health, inference, models, openapi, origins, requests, v2
from app.blueprints.express import Express
from app.blueprints.serving import Serving
from app.blueprints.serving import init_app as keep
from app.pixels import PixelBudget
from app.predictor.predictor import Predictor
from app.repository.actions import Actions
from app.repository.agreement import Agreement
from app.repository.card import Card, CardOptions
from app.repository.checks import Checks
from app.repository.checkup import Checkup
from app.repository.crashes import Crashes, Recorder
from app.repository.database import Database
from app.repository.descriptions import Descriptions
from app.repository.discovery import Discovery
from app.repository.folder import Folder
from app.repository.house import Housekeeper
from app.repository.loading import Loader, LoadOptions
from app.repository.models import Models
from app.repository.sandbox import Sandbox, SandboxOptions
from app.repository.served import Opener
from app.repository.state import State
from app.repository.store import Store
from app.repository.verdicts import Verdicts
from app.repository.watch import Watch
from app.settings import Settings
from app.wire.totals import Totals
from monitoring import catalogue, http

log = logging.getLogger("app")

VERSION = metadata.version("rx580-inference")
BLUEPRINTS = (
    health.blueprint, models.blueprint, inference.blueprint, v2.blueprint, openapi.blueprint,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runtime:
    """What has to be started and stopped around the Flask app, in each worker."""

    settings: Settings
    store: Store
    models: Models
    discovery: Discovery
    sandbox: Sandbox
    card: Card
    watch: Watch
    checkup: Checkup
    recorder: Recorder

    def start(
        self, alive: Callable[[], bool] = lambda: True, notify: Callable[[], None] = lambda: None
    ) -> None:
        """Bring this worker to the desired state before it takes traffic.

        alive turns false when the worker drains; notify is called at least every second.
        """
        with ThreadPoolExecutor(1, "discover") as pool:
            # Large files are read, and replaced ones checked.
            found = pool.submit(self.discovery.discover, self.settings.load_on_start == "all")
            while wait((found,), 1.0).not_done:
                notify()
            found.result()
        self.recorder.begin(self.store.worker)
        self.store.start(alive)
        self.watch.start()
        end = time.monotonic() + self.settings.start_timeout_s
        while not self.store.wait_until_serving(min(1.0, self.settings.start_timeout_s)):
            notify()
            if not alive():
                return
            if time.monotonic() >= end:
                log.warning("models are still loading; this worker takes requests meanwhile")
                self.store.serve_now()

    def stop(self) -> None:
        """Let go of everything that this worker holds."""
        self.watch.stop()
        self.store.stop()
        self.sandbox.close()
        self.card.close()
        self.recorder.end()


def create_app(settings: Settings) -> Flask:
    """Make the Flask app of one worker; its models come with app.extensions["runtime"].start()."""
    logging.config.dictConfig(logs.config(settings.log_level, settings.log_format))
    # A library's warning, of a photograph's header for one, is a line like any other.
    logging.captureWarnings(True)
    app = Flask("app", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    runtime = build(settings)
    app.extensions["runtime"] = runtime
    answers = Answers(int(settings.cache_mb * 1e6))
    predictor = Predictor(runtime.store, answers, runtime.watch.shadow)
    serving = Serving(
        settings, runtime.models, predictor, Totals(), runtime.checkup,
        PixelBudget(int(settings.max_image_megapixels * 1e6)), VERSION, time.monotonic(),
    )  # fmt: skip
    keep(app, serving)
    requests.init_app(app)
    origins.init_app(app, settings.origins)
    errors.init_app(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.extensions["express"] = Express(serving)
    http.init_app(app, version=VERSION, sysfs=settings.sysfs_dir)
    return app


def build(settings: Settings) -> Runtime:
    """Put the parts together; nothing runs yet."""
    folder = settings.state_dir
    database = Database(folder / "state.sqlite3")
    crashes = Crashes(folder / "crashes")
    state, recorder = State(database, crashes), Recorder(crashes)
    models = Folder(settings.models_dir, folder / "locks", settings.max_model_bytes)
    descriptions = Descriptions(database, state, models)
    sandbox = Sandbox(
        Verdicts(database),
        folder / "locks",
        SandboxOptions(
            settings.sandbox_timeout_s,
            settings.sandbox_memory_mb,
            settings.tflite_runtime,
            settings.interpreter_threads,
        ),
    )
    options = LoadOptions(
        settings.backend,
        settings.precision,
        OpenclOptions(settings.opencl_device, settings.cache_dir / "kernels"),
        settings.interpreters,
        settings.interpreter_threads,
    )
    opener = Opener(
        Budget(
            settings.queue_per_worker, int(settings.queue_mb * 1e6), settings.requests_per_caller
        ),
        recorder,
        settings.queue_per_model,
        settings.queue_wait_s,
    )
    card = Card(
        _card_options(settings, options.device), folder, lambda key: state.sleep(key, "evicted")
    )
    crashes.listen(card.crashed)
    store = Store(
        state,
        descriptions,
        Loader(models, sandbox, options, card),
        opener,
        settings.heartbeat_s,
        Housekeeper(state, card, recorder, settings.idle_unload_s).sweep,
    )
    watch = Watch(
        store, card, settings.verify_period_s, settings.shadow_share,
        lambda: restart(settings.graceful_timeout_s),
    )  # fmt: skip
    catalogue.DEVICE_WANTED.set(settings.backend == "opencl" or settings.opencl_device != "auto")
    checkup = Checkup(state, Checks(database), store.worker, watch.verify)
    store.listen(checkup.attend, lambda: restart(settings.graceful_timeout_s))
    discovery = Discovery(state, descriptions, models, sandbox)
    agreement = Agreement(state, Actions(database))
    return Runtime(
        settings, store, Models(state, agreement, descriptions, models, sandbox, discovery),
        discovery, sandbox, card, watch, checkup, recorder,
    )  # fmt: skip


def _card_options(settings: Settings, device: OpenclOptions) -> CardOptions:
    return CardOptions(
        device,
        timeout=settings.device_timeout_s,
        vram=int(settings.vram_mb * 1e6),
        evict_idle=settings.evict_idle_s,
        evict_keep=settings.evict_keep,
        restarts=settings.device_restarts,
        window=settings.device_restart_window_s,
    )


def restart(grace: float) -> None:
    """End this worker so that the master starts a new one; a driver that hangs cannot stop it."""
    timer = threading.Timer(grace + 5, os._exit, args=(1,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)
