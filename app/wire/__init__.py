"""Wire formats of tensors: JSON lists, the Open Inference Protocol and its binary extension."""
