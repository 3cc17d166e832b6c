"""All heads of a model as one ONNX graph, with what ``OnnxPredictor`` needs beside it."""
