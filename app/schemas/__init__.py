"""What comes in and what goes out, as marshmallow schemas; the arrays themselves pass through."""

from app.schemas.answered import (
    ActionAnswer,
    ActionAnswers,
    Health,
    InferenceAnswer,
    Model,
    ModelList,
    ModelVersion,
    Problem,
    Readiness,
    Verification,
    output,
)
from app.schemas.asked import (
    ImageForm,
    InferenceRequest,
    Lists,
    NamedInferenceRequest,
    UploadOptions,
    VersionChoice,
    checked,
    inference,
    once,
)

__all__ = [
    "ActionAnswer",
    "ActionAnswers",
    "Health",
    "ImageForm",
    "InferenceAnswer",
    "InferenceRequest",
    "Lists",
    "Model",
    "ModelList",
    "ModelVersion",
    "NamedInferenceRequest",
    "Problem",
    "Readiness",
    "UploadOptions",
    "Verification",
    "VersionChoice",
    "checked",
    "inference",
    "once",
    "output",
]
