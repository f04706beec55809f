"""Makes further nets in this folder: kinds of layers and of quantisation beyond make_nets.py's.

Run it in the same environment: /tmp/nets/bin/python tests/engine/nets/make_more_nets.py
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from make_nets import (
    FOLDER,
    Precision,
    converter,
    dynamic,
    float16,
    float32,
    int8,
    livened,
    samples,
)
from tf_keras import Model, layers

ANCHORS, CLASSES, DETECTIONS = 64, 3, 8


def bidirectional() -> Model:
    """Sequence classifier in both directions, then backwards alone."""
    inputs = layers.Input((10, 12))
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(inputs)
    return Model(inputs, layers.Dense(5)(layers.LSTM(12, go_backwards=True)(x)))


def video() -> Model:
    """3D convolutions over a few frames."""
    inputs = layers.Input((4, 16, 16, 3))
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv3D(12, (2, 3, 3), strides=2, padding="same", activation="relu")(x)
    x = layers.Conv3DTranspose(6, 2, strides=2, padding="same")(x)
    return Model(inputs, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def mobile() -> Model:
    """Inverted residuals with hard-swish and squeeze-and-excitation, averages and a softmax."""
    x = inputs = layers.Input((32, 32, 3))
    x = hard_swish(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    for stride in (1, 2, 1):
        y = hard_swish(layers.Conv2D(24, 1)(x))
        y = layers.DepthwiseConv2D(5, strides=stride, padding="same", activation="relu6")(y)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(6, 1, activation="relu")(gate)
        y = y * layers.Conv2D(24, 1, activation="sigmoid")(gate)
        y = layers.Conv2D(8, 1)(y)
        x = x + y if stride == 1 else y
    x = layers.AveragePooling2D()(x)
    return Model(inputs, layers.Dense(7, activation="softmax")(layers.Flatten()(x)))


def gated() -> Model:
    """Gated convolutions, as audio nets have them: a tanh times a sigmoid, and a residual."""
    x = inputs = layers.Input((24, 6))
    x = layers.Conv1D(12, 3, padding="same", activation="relu")(x)
    for rate in (1, 2):
        y = layers.Conv1D(12, 3, padding="same", dilation_rate=rate, activation="tanh")(x)
        x = x + y * layers.Conv1D(12, 1, activation="sigmoid")(x)
    x = layers.GlobalAveragePooling1D()(layers.LeakyReLU(0.1)(x))
    return Model(inputs, layers.Dense(6, activation="softmax")(x))


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.nn.relu6(x + 3) / 6


def detector() -> Model:
    """Boxes and classes of 64 anchors; the converted model ends in TFLite's post-processing."""
    x = inputs = layers.Input((32, 32, 3))
    for width in (8, 16, 16):
        x = layers.SeparableConv2D(width, 3, strides=2, padding="same", activation="relu6")(x)
    boxes = layers.Reshape((ANCHORS, 4))(layers.Conv2D(16, 3, padding="same")(x))
    scores = layers.Reshape((ANCHORS, CLASSES + 1))(
        layers.Conv2D(4 * (CLASSES + 1), 3, padding="same")(x))
    return Model(inputs, [boxes, tf.sigmoid(scores)])


OPTIONS = {"max_detections": f"i: {DETECTIONS}", "max_classes_per_detection": "i: 1",
           "num_classes": f"i: {CLASSES}", "use_regular_nms": "b: false",
           "nms_score_threshold": "f: 0.1", "nms_iou_threshold": "f: 0.6",
           "y_scale": "f: 10.0", "x_scale": "f: 10.0", "h_scale": "f: 5.0", "w_scale": "f: 5.0"}
IMPLEMENTS = " ".join(['name: "TFLite_Detection_PostProcess"', *(
    f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in OPTIONS.items())])


@tf.function(experimental_implements=IMPLEMENTS)
def post_processing(boxes: tf.Tensor, scores: tf.Tensor, anchors: tf.Tensor) -> tuple:
    """What the converter replaces by the custom operation; only its signature counts."""
    return (tf.zeros((1, DETECTIONS, 4)), tf.zeros((1, DETECTIONS)), tf.zeros((1, DETECTIONS)),
            tf.zeros(1))


def detecting(model: Model) -> tf.lite.TFLiteConverter:
    """The detector with its post-processing."""
    grid = (np.arange(4, dtype="f4") + 0.5) / 4
    centres = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 1, 2)
    sizes = np.array([[.2, .2], [.4, .3], [.3, .4], [.6, .6]], "f4")
    anchors = tf.constant(np.concatenate(np.broadcast_arrays(centres, sizes[None]), -1)
                          .reshape(ANCHORS, 4))

    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 3))])
    def whole(image: tf.Tensor) -> tuple:
        return post_processing(*model(image), anchors)

    make = tf.lite.TFLiteConverter.from_concrete_functions([whole.get_concrete_function()], model)
    make.allow_custom_ops = True
    return make


def detector_int8(make: tf.lite.TFLiteConverter, model: Model) -> None:
    make.optimizations = [tf.lite.Optimize.DEFAULT]
    make.representative_dataset = lambda: samples(model)
    make.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    make.inference_input_type = tf.uint8


def int16x8(make: tf.lite.TFLiteConverter, model: Model) -> None:
    make.optimizations = [tf.lite.Optimize.DEFAULT]
    make.representative_dataset = lambda: samples(model)
    make.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]


NETS: tuple[tuple[str, object, tuple[Precision, ...]], ...] = (
    ("bidirectional", bidirectional, (float32, dynamic, int8)),
    ("video", video, (float32, float16)),
    ("mobile", mobile, (float32, float16, dynamic, int8)),
    ("gated", gated, (float32, int8, int16x8)),
    ("detector", detector, (float32, dynamic, detector_int8)),
)


def main() -> None:
    """Write every net in every precision, or those that are named."""
    wanted = sys.argv[1:]
    for name, make_net, precisions in NETS:
        if wanted and name not in wanted:
            continue
        tf.keras.utils.set_random_seed(3)
        model = livened(make_net())
        for precision in precisions:
            make = detecting(model) if name == "detector" else converter(model, 1)
            precision(make, model)
            kind = precision.__name__.removeprefix("detector_")
            path = FOLDER / f"{name}_{kind}.tflite"
            path.write_bytes(make.convert())
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
