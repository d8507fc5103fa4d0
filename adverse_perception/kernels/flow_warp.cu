// Flow warp, and labels from warped logits and their correction; definition.py says exactly what.
//
// One source for the GPU and, as its check, for the CPU: between two barriers every step is a
// plain function of a block and a thread. nvcc and NVRTC make kernels of it (EACH_THREAD is the
// thread and a barrier), g++ -x c++ makes functions of the same names that loop over blocks and
// threads. Logits are fp16 or fp32, all arithmetic is fp32, nothing is allocated.
//
// Labels never exist as logits of the picture's size. A bilinear value is a convex mix of its four
// corners, and so is the blend of two of them: where both sets of logits agree on the class at all
// four corners of a cell, that is the label of its pixels. A block looks at its points of the grid
// once (summarise), lists the cells that disagree (compare), keeps the classes that can win there
// (bound, keep), fills all pixels from the summary (fill), and interpolates in the listed cells
// alone, shared out evenly among its threads (interpolate).

// Read by gpu.py too, which lays out the grid.
#define THREADS 256
#define TILE_ROWS 7
#define TILE_COLUMNS 31
#define WARP_PLANES 10

#include "numbers.cuh"
#include "pixels.cuh"

// planes and warped (count, height, width), flow (height, width, 2) of (x, y) in pixels.
template <typename T>
DEVICE void warp_pixel(const T* planes, const float* flow, T* warped, int count, int height,
                       int width, int block, int group, int thread) {
  const int pixel = block * THREADS + thread, size = height * width;
  if (pixel >= size) return;
  float u = flow[2 * pixel], v = flow[2 * pixel + 1];
  if (!finite(u) || !finite(v)) u = v = 0.0f;
  const float x = clamped(pixel % width + u, 0.0f, width - 1.0f);
  const float y = clamped(pixel / width + v, 0.0f, height - 1.0f);
  const int left = static_cast<int>(x), right = least(left + 1, width - 1);
  const int top = static_cast<int>(y), bottom = least(top + 1, height - 1);
  const float across = x - left, down = y - top;
  const int end = least((group + 1) * WARP_PLANES, count);
#pragma unroll 5
  for (int k = group * WARP_PLANES; k < end; ++k) {
    const T* plane = planes + k * size;
    const float upper = mix(load(plane + top * width + left), load(plane + top * width + right),
                            across);
    const float lower = mix(load(plane + bottom * width + left),
                            load(plane + bottom * width + right), across);
    store(warped + k * size + pixel, mix(upper, lower, down));
  }
}

template <typename T>
DEVICE void label_tile(const Job<T>& job, Tile& tile, int top, int left) {
  EACH_THREAD(summarise(job, tile, top, left, thread))
  EACH_THREAD(compare(tile, thread))
  EACH_THREAD(bound(job, tile, top, left, thread))
  EACH_THREAD(keep(job, tile, top, left, thread))
  EACH_THREAD(settle(tile, thread))
  EACH_THREAD(fill(job, tile, top, left, thread))
  EACH_THREAD(interpolate(job, tile, top, left, thread))
}

#ifdef __CUDACC__

// Grid: a block for THREADS pixels, by groups of WARP_PLANES planes.
#define WARP(name, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS)                                       \
      name(const T* planes, const float* flow, T* warped, int count, int height, int width) { \
    warp_pixel(planes, flow, warped, count, height, width, blockIdx.x, blockIdx.y,            \
               threadIdx.x);                                                                  \
  }

// Grid: a block for TILE_COLUMNS x TILE_ROWS points of the coarse grid.
#define CORRECT_AND_LABEL(name, T)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS)                                       \
      name(const T* warped, const T* correction, const T* distortion, unsigned char* labels,  \
           unsigned char* confidence, int classes, int rows, int columns, int height,         \
           int width) {                                                                       \
    __shared__ Tile tile;                                                                     \
    const Job<T> job = {warped, correction, distortion, labels, confidence,                   \
                        classes, rows, columns, height, width};                               \
    label_tile(job, tile, blockIdx.y * TILE_ROWS, blockIdx.x * TILE_COLUMNS);                 \
  }

#else

#define WARP(name, T)                                                                           \
  extern "C" void name(const T* planes, const float* flow, T* warped, int count, int height,    \
                       int width) {                                                             \
    for (int group = 0; group * WARP_PLANES < count; ++group)                                   \
      for (int block = 0; block * THREADS < height * width; ++block)                            \
        EACH_THREAD(warp_pixel(planes, flow, warped, count, height, width, block, group, thread)) \
  }

#define CORRECT_AND_LABEL(name, T)                                                            \
  extern "C" void name(const T* warped, const T* correction, const T* distortion,             \
                       unsigned char* labels, unsigned char* confidence, int classes,         \
                       int rows, int columns, int height, int width) {                        \
    Tile tile;                                                                                \
    const Job<T> job = {warped, correction, distortion, labels, confidence,                   \
                        classes, rows, columns, height, width};                               \
    /* Every other tile first, so that one that writes beyond its pixels is found out. */     \
    for (int part = 0; part < 4; ++part)                                                      \
      for (int top = part / 2 * TILE_ROWS; top < rows; top += 2 * TILE_ROWS)                  \
        for (int left = part % 2 * TILE_COLUMNS; left < columns; left += 2 * TILE_COLUMNS)    \
          label_tile(job, tile, top, left);                                                   \
  }

#endif

WARP(warp_half, Half)
WARP(warp_float, float)
CORRECT_AND_LABEL(correct_and_label_half, Half)
CORRECT_AND_LABEL(correct_and_label_float, float)
