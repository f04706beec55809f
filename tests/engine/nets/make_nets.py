"""Makes the small nets in this folder: five architectures, each in four precisions.

Run it in an environment of its own (TensorFlow is no dependency of the project):
    python3.11 -m venv /tmp/nets
    /tmp/nets/bin/pip install tensorflow-cpu==2.16.2 tf-keras==2.16.0
    /tmp/nets/bin/python tests/engine/nets/make_nets.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
from tf_keras import Model, layers

FOLDER = Path(__file__).parent
SAMPLES = 32


def unet() -> Model:
    """Encoder and decoder of two levels with transposed convolutions and skips."""
    x = inputs = layers.Input((32, 32, 3))
    skips = []
    for width in (8, 16):
        x = block(x, width)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, 24)
    for width, skip in zip((16, 8), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same")(x)
        x = block(layers.Concatenate()([x, skip]), width)
    return Model(inputs, layers.Conv2D(2, 1, activation="sigmoid")(x))


def block(x: tf.Tensor, width: int) -> tf.Tensor:
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
    return layers.LeakyReLU(0.1)(layers.BatchNormalization()(x))


def vit() -> Model:
    """Vision transformer: 16 patches, two pre-norm blocks, exact GELU."""
    inputs = layers.Input((32, 32, 3))
    x = layers.Conv2D(32, 8, strides=8)(inputs)
    x = layers.Reshape((16, 32))(x)
    x = x + layers.Embedding(16, 32)(tf.range(16))
    for _ in range(2):
        x = attention_block(x, heads=2, approximate=False)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def text() -> Model:
    """Text classifier: token embedding, one attention block with the tanh GELU, softmax."""
    inputs = layers.Input((16,), dtype=tf.int32)
    x = layers.Embedding(256, 32)(inputs) + layers.Embedding(16, 32)(tf.range(16))
    x = attention_block(x, heads=4, approximate=True)
    x = layers.GlobalMaxPooling1D()(x)
    return Model(inputs, layers.Dense(4, activation="softmax")(x))


def attention_block(x: tf.Tensor, heads: int, approximate: bool) -> tf.Tensor:
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.MultiHeadAttention(heads, 32 // heads)(y, y)
    y = layers.Dense(64)(layers.LayerNormalization(epsilon=1e-6)(x))
    return x + layers.Dense(32)(tf.nn.gelu(y, approximate=approximate))


def lstm() -> Model:
    """Sequence classifier; the converter makes it one fused LSTM op."""
    inputs = layers.Input((12, 32))
    return Model(inputs, layers.Dense(6)(layers.LSTM(40)(inputs)))


def lstm_unrolled() -> Model:
    """The same step by step: TensorFlow 2.16 never ends converting a fused LSTM to float16."""
    inputs = layers.Input((6, 8))
    return Model(inputs, layers.Dense(6)(layers.LSTM(32, unroll=True)(inputs)))


def gru() -> Model:
    """Sequence to sequence; the converter makes it a WHILE loop."""
    inputs = layers.Input((12, 8))
    return Model(inputs, layers.Dense(6)(layers.GRU(32, return_sequences=True)(inputs)))


def gru_unrolled() -> Model:
    """The same without control flow, which is the form that quantises to int8."""
    inputs = layers.Input((6, 8))
    x = layers.GRU(32, return_sequences=True, unroll=True)(inputs)
    return Model(inputs, layers.Dense(6)(x))


def samples(model: Model) -> Iterator[list[np.ndarray]]:
    """Draw what calibrates the integer models."""
    rng = np.random.default_rng(7)
    shape = (1, *model.input_shape[1:])
    for _ in range(SAMPLES):
        if model.inputs[0].dtype == tf.int32:
            yield [rng.integers(0, 256, shape).astype("i4")]
        else:
            yield [rng.uniform(-1, 1, shape).astype("f4")]


def livened(model: Model) -> Model:
    """Give weights that a trained net could have: no zero biases, no unit normalisation."""
    rng = np.random.default_rng(11)
    for weight in model.weights:
        noise = rng.normal(0, 0.1, weight.shape).astype("f4")
        weight.assign(np.abs(weight + noise) if "variance" in weight.name else weight + noise)
    return model


def converter(model: Model, batch: int | None) -> tf.lite.TFLiteConverter:
    spec = tf.TensorSpec((batch, *model.input_shape[1:]), model.inputs[0].dtype)
    function = tf.function(model).get_concrete_function(spec)
    return tf.lite.TFLiteConverter.from_concrete_functions([function], model)


def float32(_: tf.lite.TFLiteConverter, __: Model) -> None: ...


def float16(make: tf.lite.TFLiteConverter, _: Model) -> None:
    make.optimizations = [tf.lite.Optimize.DEFAULT]
    make.target_spec.supported_types = [tf.float16]


def dynamic(make: tf.lite.TFLiteConverter, _: Model) -> None:
    make.optimizations = [tf.lite.Optimize.DEFAULT]


def int8(make: tf.lite.TFLiteConverter, model: Model) -> None:
    make.optimizations = [tf.lite.Optimize.DEFAULT]
    make.representative_dataset = lambda: samples(model)
    make.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if model.inputs[0].dtype != tf.int32:
        make.inference_input_type = tf.int8
    make.inference_output_type = tf.int8


Precision = Callable[[tf.lite.TFLiteConverter, Model], None]
PRECISIONS: tuple[Precision, ...] = (float32, float16, dynamic, int8)

# Nets, the batch they are frozen to (None: the caller chooses), and their precisions.
NETS: dict[Callable[[], Model], tuple[int | None, tuple[Precision, ...]]] = {
    unet: (1, PRECISIONS),
    vit: (None, PRECISIONS),
    text: (1, PRECISIONS),
    lstm: (1, (float32, dynamic, int8)),
    lstm_unrolled: (1, (float32, float16)),
    gru: (1, (float32, float16, dynamic)),
    gru_unrolled: (1, (float32, int8)),
}


def main() -> None:
    """Write every net in every precision."""
    for make_net, (batch, precisions) in NETS.items():
        tf.keras.utils.set_random_seed(3)
        model = livened(make_net())
        for precision in precisions:
            make = converter(model, batch)
            precision(make, model)
            path = FOLDER / f"{make_net.__name__}_{precision.__name__}.tflite"
            path.write_bytes(make.convert())
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
