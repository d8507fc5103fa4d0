// The pixels of the picture: filled from the summary of the grid, or interpolated.

#pragma once

#include "cells.cuh"

#define LANES 32
#define RUN 4      // pixels of a row that a thread has in hand
#define LOWEST -3.402823466e38f

// Label and confidence of every pixel of the block as if all its cells agreed. A warp takes a row,
// a lane four pixels in it, which lie in one word of the picture where its width allows.
template <typename T>
DEVICE void fill(const Job<T>& job, const Tile& tile, int top, int left, int thread) {
  const Axis across = axis(job.columns, job.width), along = axis(job.rows, job.height);
  const int begin = tile.first_column[0], end = tile.first_column[TILE_COLUMNS];
  const bool words = job.width % 4 == 0 &&
                     ((reinterpret_cast<unsigned long long>(job.labels) |
                       reinterpret_cast<unsigned long long>(job.confidence)) & 3u) == 0u;
  for (int quad = begin / 4 + thread % LANES; quad * 4 < end; quad += LANES) {
    int columns[4];
    float shares[4];
    for (int n = 0; n < 4; ++n) {
      const Place place = look(clamped(quad * 4 + n, begin, end - 1), across);
      columns[n] = clamped(place.cell - left, 0, TILE_COLUMNS - 1);
      shares[n] = place.share;
    }
    const bool whole = words && quad * 4 >= begin && quad * 4 + 4 <= end;
    for (int y = tile.first_row[0] + thread / LANES; y < tile.first_row[TILE_ROWS];
         y += THREADS / LANES) {
      const Place down = look(y, along);
      const int i = clamped(down.cell - top, 0, TILE_ROWS - 1);
      unsigned labels = 0u, confidence = 0u;
      for (int n = 0; n < 4; ++n) {
        const int j = columns[n];
        const float upper = mix(tile.certainty[i][j], tile.certainty[i][j + 1], shares[n]);
        const float lower = mix(tile.certainty[i + 1][j], tile.certainty[i + 1][j + 1], shares[n]);
        labels |= static_cast<unsigned>(tile.label[i * TILE_COLUMNS + j]) << 8 * n;
        confidence |= byte(mix(upper, lower, down.share)) << 8 * n;
      }
      const int pixel = y * job.width + quad * 4;
      if (whole) {
        *reinterpret_cast<unsigned*>(job.labels + pixel) = labels;
        *reinterpret_cast<unsigned*>(job.confidence + pixel) = confidence;
      } else {
        for (int n = 0; n < 4; ++n) {
          if (quad * 4 + n < begin || quad * 4 + n >= end) continue;
          job.labels[pixel + n] = static_cast<unsigned char>(labels >> 8 * n);
          job.confidence[pixel + n] = static_cast<unsigned char>(confidence >> 8 * n);
        }
      }
    }
  }
}

// Certainties of a class at the corners of a cell.
DEVICE float certainty(const Tile& tile, const Cell& cell, int n, float warped, float correction) {
  const int i = cell.i + n / 2, j = cell.j + n % 2;
  const float logit = mix(warped, correction, tile.distortion[i][j]);
  return power_of_e(logit - tile.best[i][j]) * tile.certainty[i][j];
}

// Interpolate the candidates of a cell at some pixels of row y, from x on: down, then across.
template <typename T>
DEVICE void interpolate_run(const Job<T>& job, const Tile& tile, const Cell& cell,
                            unsigned candidates, int y, int x, int count) {
  const Axis across = axis(job.columns, job.width);
  const float down = look(y, axis(job.rows, job.height)).share;
  const float(*distortion)[POINT_COLUMNS] = tile.distortion + cell.i;
  const float first = mix(distortion[0][cell.j], distortion[1][cell.j], down);
  const float second = mix(distortion[0][cell.j + 1], distortion[1][cell.j + 1], down);
  float shares[RUN], damage[RUN], greatest[RUN], certain[RUN];
  int winner[RUN];
  for (int n = 0; n < RUN; ++n) {
    shares[n] = look(x + n, across).share;
    damage[n] = mix(first, second, shares[n]);
    greatest[n] = LOWEST;
    certain[n] = 0.0f;
    winner[n] = lowest_bit(candidates);
  }
  for (unsigned rest = candidates; rest != 0u; rest &= rest - 1u) {
    const int k = lowest_bit(rest);
    const int plane = k * (job.rows * job.columns);
    float w[4], c[4], p[4];
    for (int n = 0; n < 4; ++n) {
      const int place = plane + cell.corners[n];
      w[n] = load(job.warped + place);
      c[n] = load(job.correction + place);
      p[n] = certainty(tile, cell, n, w[n], c[n]);
    }
    for (int n = 0; n < 2; ++n) {  // both sides of the cell at this row
      w[n] = mix(w[n], w[n + 2], down);
      c[n] = mix(c[n], c[n + 2], down);
      p[n] = mix(p[n], p[n + 2], down);
    }
    for (int n = 0; n < RUN; ++n) {
      const float value =
          mix(mix(w[0], w[1], shares[n]), mix(c[0], c[1], shares[n]), damage[n]);
      if (value > greatest[n]) {
        greatest[n] = value;
        winner[n] = k;
        certain[n] = mix(p[0], p[1], shares[n]);
      }
    }
  }
  const int pixel = y * job.width + x;
  for (int n = 0; n < RUN; ++n) {
    if (n >= count) continue;
    job.labels[pixel + n] = static_cast<unsigned char>(winner[n]);
    job.confidence[pixel + n] = static_cast<unsigned char>(byte(certain[n]));
  }
}

// The pixels of listed cells, runs of a cell shared among some threads.
template <typename T>
DEVICE void interpolate(const Job<T>& job, const Tile& tile, int top, int left, int thread) {
  for (int n = thread; n < tile.count * SHARERS; n += THREADS) {
    const unsigned candidates = tile.candidates[n / SHARERS];
    if (settled(candidates)) continue;
    const Cell cell = listed_cell(job, tile, top, left, n / SHARERS);
    const int begin = tile.first_column[cell.j], end = tile.first_column[cell.j + 1];
    const int runs = (end - begin + RUN - 1) / RUN;
    const int rows = tile.first_row[cell.i + 1] - tile.first_row[cell.i];
    for (int run = n % SHARERS; run < rows * runs; run += SHARERS) {
      const int x = begin + run % runs * RUN;
      interpolate_run(job, tile, cell, candidates, tile.first_row[cell.i] + run / runs, x,
                      end - x);
    }
  }
}
