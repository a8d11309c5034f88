"""NVIDIA GPUs: lane IR as CUDA C++, compiled to machine code by NVRTC, which needs no GPU."""
