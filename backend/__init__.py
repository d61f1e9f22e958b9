"""Three TensorFlows and DirectML as one."""
