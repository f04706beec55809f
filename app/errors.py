"""Everything that can go wrong, as one tree. Knows no HTTP: blueprints/errors.py maps it.

ServingError
├── SettingsError            a bad value in the environment
├── InvalidRequest           the request's body or parameters
│   ├── InvalidInput         tensors that do not fit the model
│   ├── UnsupportedMedia     a content type or encoding nobody reads
│   ├── ForeignOrigin        a web page from elsewhere wants to change something
│   └── RequestTooLarge
├── ModelError
│   ├── ModelNotFound        no such model or version
│   ├── ModelNotReady        known, but not loaded here (yet)
│   ├── InvalidModel         a .tflite that is damaged, hostile or not a model
│   │   └── UnsupportedOp    sound, but with operations that nothing here can run
│   ├── ModelConflict        the request contradicts the model's state
│   ├── ModelLoadFailed      a sound model that could not be loaded
│   │   ├── ModelMisdescribed  it is not what its model.yaml says
│   │   └── ModelFileChanged   it is another file by now
│   └── ModelSourceError     a model's file can't be had from where its manifest says
├── StorageFailed            the model repository cannot be written
├── Overloaded               a queue is full
├── QuotaExceeded            one caller has as much running as it may have
├── DeadlineExceeded         the answer came, or would come, too late
└── DeviceError              the OpenCL device or its driver
    ├── DeviceNotFound       a strict OPENCL_DEVICE pattern matched nothing
    ├── KernelBuildError     carries the build log, the source name and the defines
    ├── DeviceHung           it did not answer in time
    └── DeviceMemoryError    says how much is needed and how much there is
"""

from __future__ import annotations

import errno

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)
# Source: CPython says no more of EAGAIN where it starts a thread.
_NO_THREAD = "can't start new thread"


class ServingError(Exception):
    """Root of all errors that are answered with a sentence for the person who caused them."""

    code = "serving_error"


class SettingsError(ServingError):
    """A value in the environment is not allowed."""

    code = "invalid_setting"


class InvalidRequest(ServingError):
    """The request could not be understood."""

    code = "invalid_request"


class InvalidInput(InvalidRequest):
    """The tensors of a request do not fit the model."""

    code = "invalid_input"


class UnsupportedMedia(InvalidRequest):
    """A content type or encoding that nothing here reads."""

    code = "unsupported_media_type"


class ForeignOrigin(InvalidRequest):
    """A web page of another origin wants to change something."""

    code = "foreign_origin"


class RequestTooLarge(InvalidRequest):
    """The body is larger than the server accepts."""

    code = "request_too_large"


class ModelError(ServingError):
    """Root of what concerns one model."""

    code = "model_error"


class ModelNotFound(ModelError):
    """No model of that name, or no such version of it, is in the repository."""

    code = "model_not_found"


class ModelNotReady(ModelError):
    """The model is known but this worker does not serve it at the moment."""

    code = "model_not_ready"


class InvalidModel(ModelError):
    """The file is not a sound TFLite model."""

    code = "invalid_model"


class UnsupportedOp(InvalidModel):
    """The model needs operations that neither the card nor the CPU can run."""

    code = "unsupported_op"


class ModelConflict(ModelError):
    """The request contradicts the model's present state."""

    code = "model_conflict"


class ModelLoadFailed(ModelError):
    """A sound model could not be loaded."""

    code = "model_load_failed"


class ModelMisdescribed(ModelLoadFailed):
    """The file is not, or does not answer, what model.yaml says of it."""

    code = "model_misdescribed"


class ModelFileChanged(ModelLoadFailed):
    """The file is another than the one that is wanted; perhaps somebody still copies it."""

    code = "model_file_changed"


class ModelSourceError(ModelError):
    """A model's file can't be brought from its source, or is not what it should be."""

    code = "model_source_unavailable"


class StorageFailed(ServingError):
    """The disk of the model repository is full, read-only or failing."""

    code = "storage_failed"


class Overloaded(ServingError):
    """A queue is full; the caller should come back later.

    Units: retry_after in seconds; reason is "queue_full", "queue_bytes" or "deadline"; room is
           how many requests the queue takes, where that is what it is full of.
    """

    code = "overloaded"

    def __init__(
        self, message: str, retry_after: float = 1.0, reason: str = "queue_full",
        room: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason
        self.room = room


def exhausted(error: BaseException) -> Overloaded | None:
    """Say of an error that it only means too much at once: what the system has is used up."""
    if isinstance(error, MemoryError):
        return Overloaded("there is no memory left for this request; send less, or come back later")
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        return Overloaded(f"the server has reached a limit of its system ({error.strerror}); "
                          "come back later")  # fmt: skip
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return Overloaded("the system has no room for one more thread; come back later")
    return None


class QuotaExceeded(ServingError):
    """One caller has as much running as it may have; others are still served.

    Units: retry_after in seconds.
    """

    code = "quota_exceeded"
    reason = "quota"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(ServingError):
    """The work was not done within the time that the caller or the server allows."""

    code = "deadline_exceeded"


class DeviceError(ServingError):
    """The OpenCL device or its driver failed."""

    code = "device_error"


class DeviceNotFound(DeviceError):
    """A strict device pattern matched none of the devices that there are."""

    code = "device_not_found"


class DeviceHung(DeviceError):
    """The device did not answer within the watchdog's time."""

    code = "device_hung"


class KernelBuildError(DeviceError):
    """An OpenCL program did not compile."""

    code = "kernel_build_failed"

    def __init__(self, source: str, defines: str, log: str) -> None:
        super().__init__(f"{source} did not build with [{defines}]: {log.strip()}")
        self.source = source
        self.defines = defines
        self.log = log


class DeviceMemoryError(DeviceError):
    """A model needs more device memory than is free.

    Units: needed and free in bytes; needed is 0 where only the driver knows it.
    """

    code = "device_memory"

    def __init__(self, needed: int, free: int) -> None:
        wanted = f"{needed} bytes" if needed else "more bytes"
        super().__init__(f"{wanted} of device memory are needed and {free} are free")
        self.needed = needed
        self.free = free
