"""What leaves the process: files of fitted estimators, torch modules and ONNX graphs."""
