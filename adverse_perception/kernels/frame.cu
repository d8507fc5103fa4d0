// What a frame needs on a GPU beside the flow warp: another size (definition.py says exactly how),
// what is kept of a key frame and what tells where carrying it on failed (evidence.py), and a look
// at results, so that only a few numbers have to be downloaded.
//
// One source for the GPU and, as its check, for the CPU, as flow_warp.cu. Sizes are counted in
// whole numbers: the same picture comes out everywhere. Nothing is allocated.

// Read by frame_gpu.py too, which lays out the grid.
#define THREADS 256
#define PARTS 16

#include "numbers.cuh"

typedef unsigned char Byte;

// One axis of a picture before and after; all shares of a pixel add up to `whole`.
struct Side {
  int from, to;
  bool grows;
  DEVICE_MEMBER int whole() const { return grows ? 2 * to : from; }
  // Place of a pixel's centre, in pixels of the old picture times `whole`.
  DEVICE_MEMBER int centre(int pixel) const {
    return clamped((2 * pixel + 1) * from - to, 0, 2 * to * (from - 1));
  }
  DEVICE_MEMBER int first(int pixel) const {
    return grows ? centre(pixel) / (2 * to) : pixel * from / to;
  }
  DEVICE_MEMBER int last(int pixel) const {
    return grows ? least(first(pixel) + 1, from - 1) : ((pixel + 1) * from - 1) / to;
  }
  // Share of an old pixel in a new one, as an overlap or by its distance.
  DEVICE_MEMBER int share(int pixel, int old) const {
    if (!grows)
      return least((pixel + 1) * from, (old + 1) * to) - greatest(pixel * from, old * to);
    const int apart = centre(pixel) - old * 2 * to;
    return 2 * to - (apart < 0 ? -apart : apart);
  }
};

// from (H, W, 3) to (h, w, 3), a thread for every pixel of the latter.
DEVICE void resize_pixel(const Byte* from, Byte* to, const Side& down, const Side& across,
                         int block, int thread) {
  const int pixel = block * THREADS + thread;
  if (pixel >= down.to * across.to) return;
  const int y = pixel / across.to, x = pixel % across.to;
  unsigned long long sums[3] = {0u, 0u, 0u};
  for (int i = down.first(y); i <= down.last(y); ++i) {
    unsigned row[3] = {0u, 0u, 0u};
    for (int j = across.first(x); j <= across.last(x); ++j) {
      const unsigned share = static_cast<unsigned>(across.share(x, j));
      const Byte* colours = from + (i * across.from + j) * 3;
      for (int c = 0; c < 3; ++c) row[c] += share * colours[c];
    }
    const unsigned long long share = static_cast<unsigned long long>(down.share(y, i));
    for (int c = 0; c < 3; ++c) sums[c] += share * row[c];
  }
  const unsigned long long whole =
      static_cast<unsigned long long>(down.whole()) * static_cast<unsigned>(across.whole());
  for (int c = 0; c < 3; ++c)
    to[pixel * 3 + c] = static_cast<Byte>((sums[c] + whole / 2) / whole);
}

// planes (classes + 4, size) begin with the logits; colours and entropy are written behind them.
DEVICE void remember_point(float* planes, const Byte* small, int classes, int size, int block,
                           int thread) {
  const int point = block * THREADS + thread;
  if (point >= size) return;
  float best = planes[point], total = 0.0f, weighted = 0.0f;
  for (int k = 1; k < classes; ++k) best = greater(best, planes[k * size + point]);
  for (int k = 0; k < classes; ++k) {
    const float behind = planes[k * size + point] - best;
    const float weight = power_of_e(behind);
    total += weight;
    weighted += weight * behind;
  }
  float* added = planes + classes * size + point;
  for (int c = 0; c < 3; ++c) added[c * size] = small[point * 3 + c] / 255.0f;
  const float most = greater(natural_log(static_cast<float>(classes)), 1e-6f);
  added[3 * size] = (natural_log(total) - weighted / total) / most;
}

// What is not a number stays so.
DEVICE float as_share(float x) { return x == x ? clamped(x, 0.0f, 1.0f) : x; }

// moved (4, height, width) are colours and entropy; evidence (6, height, width).
DEVICE void evidence_point(const float* moved, const Byte* small, const float* flow,
                           const float* wandered, float* evidence, int height, int width,
                           float near, int block, int thread) {
  const int point = block * THREADS + thread, size = height * width;
  if (point >= size) return;
  for (int c = 0; c < 3; ++c) {
    const float apart = small[point * 3 + c] / 255.0f - moved[c * size + point];
    evidence[c * size + point] = as_share(apart < 0.0f ? -apart : apart);
  }
  const float x = point % width + flow[2 * point], y = point / width + flow[2 * point + 1];
  const bool out = x < 0.0f || x > width - 1.0f || y < 0.0f || y > height - 1.0f;
  evidence[3 * size + point] = as_share(1.0f - power_of_e(-wandered[point] / near));
  evidence[4 * size + point] = as_share(moved[3 * size + point]);
  evidence[5 * size + point] = out ? 1.0f : 0.0f;
}

// Of each thread's values: their sum, each kept within 0 to 1, and how many are no numbers.
struct Look {
  float sum[THREADS], strange[THREADS];
};

DEVICE void gather(const float* values, Look& look, int size, int part, int thread) {
  look.sum[thread] = look.strange[thread] = 0.0f;
  for (int n = part * THREADS + thread; n < size; n += PARTS * THREADS) {
    look.sum[thread] += clamped(values[n], 0.0f, 1.0f);
    if (!finite(values[n])) look.strange[thread] += 1.0f;
  }
}

DEVICE void halve(Look& look, int half, int thread) {
  if (thread >= half) return;
  look.sum[thread] += look.sum[thread + half];
  look.strange[thread] += look.strange[thread + half];
}

DEVICE void put(const Look& look, float* found, int thread) {
  if (thread == 0) found[0] = look.sum[0];
  if (thread == 1) found[1] = look.strange[0];
}

// values (planes, size), found (planes, PARTS, 2).
DEVICE void judge_part(const float* values, float* found, Look& look, int size, int part,
                       int plane) {
  EACH_THREAD(gather(values + plane * size, look, size, part, thread))
  for (int half = THREADS / 2; half > 0; half /= 2) EACH_THREAD(halve(look, half, thread))
  EACH_THREAD(put(look, found + (plane * PARTS + part) * 2, thread))
}

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define EACH_POINT(size, step) { const int block = blockIdx.x, thread = threadIdx.x; step; }
#define EACH_PART(planes, step) \
  { __shared__ Look look; const int part = blockIdx.x, plane = blockIdx.y; step; }
#else
#define KERNEL extern "C" void
#define EACH_POINT(size, step) \
  for (int block = 0; block * THREADS < size; ++block) EACH_THREAD(step)
#define EACH_PART(planes, step)                 \
  for (int plane = 0; plane < planes; ++plane)  \
    for (int part = 0; part < PARTS; ++part) { Look look; step; }
#endif

// Grid: a block for THREADS pixels of the new picture.
KERNEL resize(const Byte* from, Byte* to, int rows, int columns, int height, int width,
              int grows) {
  const Side down = {rows, height, grows != 0}, across = {columns, width, grows != 0};
  EACH_POINT(height * width, resize_pixel(from, to, down, across, block, thread))
}

// Grid: a block for THREADS points.
KERNEL remember(float* planes, const Byte* small, int classes, int size) {
  EACH_POINT(size, remember_point(planes, small, classes, size, block, thread))
}

// Grid: a block for THREADS points.
KERNEL evidence(const float* moved, const Byte* small, const float* flow, const float* wandered,
                float* found, int height, int width, float near) {
  EACH_POINT(height * width, evidence_point(moved, small, flow, wandered, found, height, width,
                                            near, block, thread))
}

// Grid: PARTS blocks for each plane.
KERNEL judge(const float* values, float* found, int planes, int size) {
  EACH_PART(planes, judge_part(values, found, look, size, part, plane))
}
