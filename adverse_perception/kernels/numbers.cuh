// What the kernels need of the machine, for the GPU (nvcc, NVRTC) and for the CPU (g++).

#pragma once

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define EACH_THREAD(step) { const int thread = threadIdx.x; step; __syncthreads(); }
#else
#include <cmath>
#include <cstring>
#define DEVICE static inline
#define DEVICE_MEMBER inline
#define EACH_THREAD(step) for (int thread = 0; thread < THREADS; ++thread) { step; }
#endif

struct Half { unsigned short bits; };

DEVICE float load(const float* from) { return *from; }
DEVICE void store(float* to, float value) { *to = value; }

#ifdef __CUDACC__

// The two instructions, rather than cuda_fp16.h, which NVRTC comes without.
DEVICE float load(const Half* from) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(from->bits));
  return value;
}
DEVICE void store(Half* to, float value) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(value));
}
DEVICE float multiply_rounded(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add_rounded(float a, float b) { return __fadd_rn(a, b); }
DEVICE float power_of_e(float x) {
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x * 1.4426950408889634f));
  return value;
}
DEVICE float natural_log(float x) { return logf(x); }
// Rounded, kept within 0 to 255; what is no number becomes 0.
DEVICE unsigned byte(float x) {
  unsigned value;
  asm("cvt.rni.u8.f32 %0, %1;" : "=r"(value) : "f"(x));
  return value;
}
DEVICE float lesser(float a, float b) { return fminf(a, b); }
DEVICE float greater(float a, float b) { return fmaxf(a, b); }
DEVICE int lowest_bit(unsigned bits) { return __ffs(bits) - 1; }
DEVICE unsigned bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(unsigned bits) { return __uint_as_float(bits); }
DEVICE int take_place(int* count) { return atomicAdd(count, 1); }
DEVICE void raise_to(unsigned* top, unsigned value) { atomicMax(top, value); }
DEVICE void set_bits(unsigned* mask, unsigned bits) { atomicOr(mask, bits); }

#else

DEVICE float load(const Half* from) {
  _Float16 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
DEVICE void store(Half* to, float value) {
  const _Float16 half = static_cast<_Float16>(value);
  std::memcpy(to, &half, sizeof half);
}
// True under -ffp-contract=off.
DEVICE float multiply_rounded(float a, float b) { return a * b; }
DEVICE float add_rounded(float a, float b) { return a + b; }
DEVICE float power_of_e(float x) { return std::exp(x); }
DEVICE float natural_log(float x) { return std::log(x); }
DEVICE unsigned byte(float x) {
  return static_cast<unsigned>(x > 0.0f ? (x < 255.0f ? std::nearbyint(x) : 255.0f) : 0.0f);
}
DEVICE float lesser(float a, float b) { return std::fmin(a, b); }
DEVICE float greater(float a, float b) { return std::fmax(a, b); }
DEVICE int lowest_bit(unsigned bits) { return __builtin_ctz(bits); }
DEVICE unsigned bits_of(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
DEVICE float float_of(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
DEVICE int take_place(int* count) { return (*count)++; }
DEVICE void raise_to(unsigned* top, unsigned value) { if (value > *top) *top = value; }
DEVICE void set_bits(unsigned* mask, unsigned bits) { *mask |= bits; }

#endif

DEVICE int least(int a, int b) { return a < b ? a : b; }
DEVICE int greatest(int a, int b) { return a > b ? a : b; }
DEVICE int clamped(int value, int low, int high) { return least(value < low ? low : value, high); }
// Not a number becomes the low end.
DEVICE float clamped(float value, float low, float high) {
  return value > low ? (value < high ? value : high) : low;
}
DEVICE bool finite(float x) { return (bits_of(x) & 0x7f800000u) != 0x7f800000u; }
DEVICE float mix(float a, float b, float share) { return a * (1.0f - share) + b * share; }

// Unsigned numbers in the order of the floats, for the greatest by atomicMax; 0 is under all.
DEVICE unsigned in_order(float x) {
  const unsigned bits = bits_of(x + 0.0f);  // of both zeros the same
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
DEVICE float out_of_order(unsigned order) {
  return float_of(order & 0x80000000u ? order & 0x7fffffffu : ~order);
}
