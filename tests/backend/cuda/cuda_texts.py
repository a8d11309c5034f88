"""Small kernels in CUDA C++ whose machine code is known in its main features."""

PRODUCT = """extern "C" __global__ void __launch_bounds__(128) bw_kernel(
    unsigned long long s0, unsigned long long s1, unsigned long long s2, int* failure) {
  const uint4* p = (const uint4*)s0;
  float* y = (float*)s1;
  float acc[4] = {0, 0, 0, 0};
#pragma unroll 1
  for (unsigned long long k = 0; k < s2; k += 1) {
    uint4 w = __ldg(p + k * 128 + threadIdx.x);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%8}, {%0,%1,%2,%3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(w.x & 0xf000f), "r"(w.y & 0xf000f), "r"(w.z & 0xf000f), "r"(w.w & 0xf000f), "r"((unsigned)s2));
  }
  y[threadIdx.x] = acc[0] + acc[1] + acc[2] + acc[3];
}
"""
"""One loop, of each lane 16 bytes and one product of matrices, over s2 iterations."""

SPILLS = """extern "C" __global__ void __maxnreg__(24) bw_kernel(float* p, int n) {
  __shared__ float fixed[64];
  float local[20], a[40];
  fixed[threadIdx.x % 64] = p[1];
  __syncthreads();
  for (int i = 0; i < 40; i++) a[i] = p[i * 128 + threadIdx.x];
  for (int i = 0; i < 20; i++) local[i] = a[i] * 2.f + fixed[i];
  for (int k = 0; k < n; k++) {
    for (int i = 0; i < 40; i++) a[i] = a[i] * a[(i + 1) % 40] + local[(n + i * k) % 20];
#pragma unroll 1
    for (int j = 0; j < k; j++) a[1] = a[1] * a[2] + 1.f;
  }
  for (int i = 0; i < 40; i++) p[i * 128 + threadIdx.x] = a[i];
}
"""
"""More values than registers, an array with an unknown index, 256 bytes of shared memory, a loop in a loop."""
