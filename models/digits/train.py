"""Trains the digits model and writes model.tflite and model.yaml: `python models/digits/train.py`.

Data: the 1,797 images of 8x8 pixels that scikit-learn brings (UCI, Optical Recognition of
Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0). A quarter is kept for the test.
The network is two convolutions and two dense layers, trained here in numpy with Adam, so that
no framework is needed; pip install -e '.[train]' brings scikit-learn.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import yaml
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Floats = NDArray[np.float32]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEED, EPOCHS, BATCH, RATE, DECAY = 7, 40, 64, 2e-3, 1e-4
# Layer → shape of its weights in TFLite's layout: [out, kernel, kernel, in] or [out, in].
SHAPES = {"conv1": (16, 3, 3, 1), "conv2": (32, 3, 3, 16), "dense1": (64, 128), "dense2": (10, 64)}


# --- the network in numpy ---


def patches(x: Floats) -> Floats:
    """Give each pixel its 3x3 neighbourhood: [N,H,W,C] -> [N,H,W,9*C], zeros outside."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.concatenate(shifted, axis=-1)


def scatter(gradient: Floats, channels: int) -> Floats:
    """Undo patches: sum each neighbourhood's gradient back onto its pixels."""
    n, height, width, _ = gradient.shape
    padded = np.zeros((n, height + 2, width + 2, channels), np.float32)
    for k in range(9):
        part = gradient[..., k * channels : (k + 1) * channels]
        padded[:, k // 3 : k // 3 + height, k % 3 : k % 3 + width] += part
    return padded[:, 1:-1, 1:-1]


def pool(x: Floats) -> tuple[Floats, Floats]:
    """Take the maximum of each 2x2 square; also give which pixels were that."""
    n, height, width, channels = x.shape
    squares = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    best = squares.max(axis=(2, 4), keepdims=True)
    mask = (squares == best).astype(np.float32)
    return best[:, :, 0, :, 0], mask / mask.sum(axis=(2, 4), keepdims=True)


def unpool(gradient: Floats, mask: Floats) -> Floats:
    """Send each square's gradient to its maximum."""
    n, height, _, width, _, channels = mask.shape
    spread = gradient[:, :, None, :, None] * mask
    return spread.reshape(n, height * 2, width * 2, channels)


def forward(weights: dict[str, Floats], x: Floats) -> tuple[Floats, list[Any]]:
    """Compute the logits [N,10] of images [N,8,8,1], and what the way back needs."""
    kept: list[Any] = []
    for name in ("conv1", "conv2"):
        window = patches(x)
        flat = weights[name].reshape(len(weights[name]), -1)
        active = np.maximum(window @ flat.T + weights[name + "_bias"], 0)
        x, mask = pool(active)
        kept.append((window, active, mask))
    flat_x = x.reshape(len(x), -1)
    hidden = np.maximum(flat_x @ weights["dense1"].T + weights["dense1_bias"], 0)
    kept += [flat_x, hidden]
    return hidden @ weights["dense2"].T + weights["dense2_bias"], kept


def backward(weights: dict[str, Floats], kept: list[Any], error: Floats) -> dict[str, Floats]:
    """Compute the gradient of every weight from that of the logits."""
    conv1, conv2, flat_x, hidden = kept
    found = {"dense2": error.T @ hidden, "dense2_bias": error.sum(0)}
    error = (error @ weights["dense2"]) * (hidden > 0)
    found |= {"dense1": error.T @ flat_x, "dense1_bias": error.sum(0)}
    gradient = (error @ weights["dense1"]).reshape(-1, 2, 2, 32)
    for name, (window, active, mask) in (("conv2", conv2), ("conv1", conv1)):
        gradient = unpool(gradient, mask) * (active > 0)
        flat = gradient.reshape(-1, gradient.shape[-1])
        found[name] = (flat.T @ window.reshape(len(flat), -1)).reshape(SHAPES[name])
        found[name + "_bias"] = flat.sum(0)
        back = gradient @ weights[name].reshape(len(weights[name]), -1)
        gradient = scatter(back, SHAPES[name][-1])
    return found


def train(x: Floats, y: NDArray[np.int64]) -> dict[str, Floats]:
    """Fit the weights by Adam on the cross-entropy."""
    chance = np.random.default_rng(SEED)
    weights: dict[str, Floats] = {}
    for name, shape in SHAPES.items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights[name] = (chance.standard_normal(shape) * scale).astype(np.float32)
        weights[name + "_bias"] = np.zeros(shape[0], np.float32)
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    step = 0
    for epoch in range(EPOCHS):
        order = chance.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            logits, kept = forward(weights, x[chosen])
            error = (softmax(logits) - np.eye(10)[y[chosen]]) / len(chosen)
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
            for name, gradient in backward(weights, kept, error.astype(np.float32)).items():
                gradient += DECAY * weights[name]
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.999 * square[name] + 0.001 * gradient**2
                size = np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8
                move = rate * mean[name] / (1 - 0.9**step) / size
                weights[name] = (weights[name] - move).astype(np.float32)
    return weights


def softmax(logits: Floats) -> Floats:
    """Turn logits into probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# --- the file ---


class Writer:
    """Writes one graph in the TFLite schema."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[int] = []

    def tensor(self, name: str, shape: tuple[int, ...], data: Floats | None = None) -> int:
        """Add a tensor; one without data is computed, and its batch is free."""
        buffer = 0
        if data is not None:
            self.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
            buffer = len(self.buffers) - 1
        tensor = schema.TensorT(name=name, shape=list(shape), buffer=buffer, hasRank=True)
        if data is None:
            tensor.shapeSignature = [-1, *shape[1:]]
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def op(self, name: str, options: Any, inputs: list[int], output: int) -> int:
        """Add an operation."""
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        kind = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.operators.append(
            schema.OperatorT(
                opcodeIndex=self.codes.index(code), inputs=inputs, outputs=[output],
                builtinOptionsType=kind, builtinOptions=options,
            )
        )  # fmt: skip
        return output

    def build(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Serialise."""
        graph = schema.SubGraphT(
            name="digits", tensors=self.tensors, operators=self.operators,
            inputs=inputs, outputs=outputs,
        )  # fmt: skip
        codes = [
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
            for code in self.codes
        ]
        model = schema.ModelT(
            version=3, description="digits", operatorCodes=codes, subgraphs=[graph],
            buffers=self.buffers,
        )  # fmt: skip
        builder = flatbuffers.Builder(1 << 17)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def export(weights: dict[str, Floats]) -> bytes:
    """Write the trained network as a .tflite."""
    writer = Writer()
    relu = schema.ActivationFunctionType.RELU
    none = schema.ActivationFunctionType.NONE
    image = x = writer.tensor("image", (1, 8, 8, 1))
    side, channels = 8, 1
    for name in ("conv1", "conv2"):
        channels = SHAPES[name][0]
        parts = [writer.tensor(n, weights[n].shape, weights[n]) for n in (name, name + "_bias")]
        options = schema.Conv2DOptionsT(strideH=1, strideW=1, fusedActivationFunction=relu)
        x = writer.op(
            "CONV_2D", options, [x, *parts],
            writer.tensor(f"{name}_out", (1, side, side, channels)),
        )  # fmt: skip
        side //= 2
        pooling = schema.Pool2DOptionsT(strideH=2, strideW=2, filterHeight=2, filterWidth=2)
        x = writer.op(
            "MAX_POOL_2D", pooling, [x], writer.tensor(f"{name}_pool", (1, side, side, channels))
        )
    for name, activation in (("dense1", relu), ("dense2", none)):
        parts = [writer.tensor(n, weights[n].shape, weights[n]) for n in (name, name + "_bias")]
        x = writer.op(
            "FULLY_CONNECTED", schema.FullyConnectedOptionsT(fusedActivationFunction=activation),
            [x, *parts], writer.tensor(f"{name}_out", (1, SHAPES[name][0])),
        )  # fmt: skip
    probabilities = writer.op(
        "SOFTMAX", schema.SoftmaxOptionsT(beta=1.0), [x], writer.tensor("probabilities", (1, 10))
    )
    return writer.build([image], [probabilities])


def write_example(image: Floats, digit: int) -> None:
    """Keep one test image, as a picture and as the JSON of a request."""
    pixels = np.rint(image[..., 0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(HERE / "example.png")
    request = {"model_name": "digits", "input_data": image[np.newaxis].tolist()}
    (HERE / "example.json").write_text(json.dumps(request) + "\n")
    print(f"example.png shows a {digit}")


def main() -> None:
    """Train, test, and write the model, its description and an example."""
    sys.path.insert(0, str(ROOT))
    from app.repository.golden import draw  # after the path is known

    digits = load_digits()
    images = (digits.images[..., np.newaxis] / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        images, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    weights = train(x, y)
    right = float((forward(weights, x_test)[0].argmax(axis=1) == y_test).mean())
    blob = export(weights)
    (HERE / "1").mkdir(exist_ok=True)
    (HERE / "1" / "model.tflite").write_bytes(blob)
    text = (HERE / "model.yaml").read_text()
    document = yaml.safe_load(text)
    document["versions"]["1"]["sha256"] = hashlib.sha256(blob).hexdigest()
    document["golden"] = {"1": draw(HERE / "1" / "model.tflite")}
    layout = {"sort_keys": False, "width": 96, "default_flow_style": None}
    (HERE / "model.yaml").write_text(yaml.safe_dump(document, **layout))
    write_example(x_test[0], int(y_test[0]))
    print(f"{len(blob)} bytes; {right:.2%} of {len(y_test)} test images are right")


if __name__ == "__main__":
    main()
