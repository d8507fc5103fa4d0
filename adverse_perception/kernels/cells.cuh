// The cells of the coarse grid: which of them have one label, and which classes the others can have.

#pragma once

#include "numbers.cuh"

#define POINT_ROWS (TILE_ROWS + 1)
#define POINT_COLUMNS (TILE_COLUMNS + 1)  // one thread for every point
#define CELLS (TILE_ROWS * TILE_COLUMNS)
#define SHARERS 4  // threads to a cell that disagrees
#define NOBODY 255

template <typename T>
struct Job {
  const T *warped, *correction, *distortion;  // (classes, rows, columns) twice, (rows, columns)
  unsigned char *labels, *confidence;         // (height, width)
  int classes, rows, columns, height, width;
};

// One axis: points of the grid, pixels of the picture, and points to a pixel.
struct Axis {
  int coarse, fine;
  float scale;
};

// What a block knows of its points and cells.
struct Tile {
  float best[POINT_ROWS][POINT_COLUMNS];       // greatest logit after blending
  float certainty[POINT_ROWS][POINT_COLUMNS];  // its softmax probability, times 255
  float distortion[POINT_ROWS][POINT_COLUMNS];
  unsigned char champion[POINT_ROWS][POINT_COLUMNS];  // whose logit that is
  unsigned char winner[POINT_ROWS][POINT_COLUMNS];    // of both sets, or NOBODY
  unsigned char label[CELLS];                         // of cells that agree
  int first_row[POINT_ROWS], first_column[POINT_COLUMNS];  // pixel where each cell begins
  unsigned bar[CELLS], candidates[CELLS];                  // of listed cells
  int listed[CELLS];
  int count;
};

// A cell: its place in the tile, its corners' places in a plane, its extremes of distortion.
struct Cell {
  int i, j, corners[4];
  float mild, severe;
};

// Where a pixel looks on one axis: the cell, and how far into it. Rounded after every operation,
// so that all steps agree on whose pixel it is.
struct Place {
  int cell;
  float share;
};

DEVICE Axis axis(int coarse, int fine) {
  const Axis made = {coarse, fine, static_cast<float>(coarse) / static_cast<float>(fine)};
  return made;
}

DEVICE Place look(int pixel, const Axis& axis) {
  const float exact = add_rounded(multiply_rounded(pixel + 0.5f, axis.scale), -0.5f);
  const float place = clamped(exact, 0.0f, static_cast<float>(axis.coarse));
  Place found;
  found.cell = least(static_cast<int>(place), axis.coarse - 1);
  found.share = lesser(place - found.cell, 1.0f);
  return found;
}

// First pixel whose cell is this one or a later one; fine where there is none.
DEVICE int first_pixel(int cell, const Axis& axis) {
  if (cell <= 0) return 0;
  if (cell >= axis.coarse) return axis.fine;
  int pixel = clamped(static_cast<int>((cell + 0.5f) / axis.scale - 0.5f), 0, axis.fine);
  while (pixel > 0 && look(pixel - 1, axis).cell >= cell) --pixel;
  while (pixel < axis.fine && look(pixel, axis).cell < cell) ++pixel;
  return pixel;
}

// One thread for every point: who wins, by how much, and where the cells begin.
template <typename T>
DEVICE void summarise(const Job<T>& job, Tile& tile, int top, int left, int thread) {
  const int i = thread / POINT_COLUMNS, j = thread % POINT_COLUMNS;
  if (thread == 0) tile.count = 0;
  if (j == 0) tile.first_row[i] = first_pixel(top + i, axis(job.rows, job.height));
  if (i == 0) tile.first_column[j] = first_pixel(left + j, axis(job.columns, job.width));
  const int size = job.rows * job.columns;
  const int point = least(top + i, job.rows - 1) * job.columns + least(left + j, job.columns - 1);
  const float distortion = clamped(load(job.distortion + point), 0.0f, 1.0f);
  float warped = load(job.warped + point), correction = load(job.correction + point);
  float best = mix(warped, correction, distortion), total = 1.0f;
  int winner = 0, other = 0, champion = 0;
#pragma unroll 6
  for (int k = 1; k < job.classes; ++k) {
    const float w = load(job.warped + k * size + point);
    const float c = load(job.correction + k * size + point);
    const float blend = mix(w, c, distortion);
    if (w > warped) { warped = w; winner = k; }
    if (c > correction) { correction = c; other = k; }
    // the sum of e^(logit - best) so far, whichever is the best
    const float ahead = blend - best;
    const float less = power_of_e(ahead > 0.0f ? -ahead : ahead);
    total = ahead > 0.0f ? total * less + 1.0f : total + less;
    if (ahead > 0.0f) { best = blend; champion = k; }
  }
  tile.best[i][j] = best;
  tile.certainty[i][j] = 255.0f / total;
  tile.distortion[i][j] = distortion;
  tile.champion[i][j] = static_cast<unsigned char>(champion);
  tile.winner[i][j] = static_cast<unsigned char>(winner == other ? winner : NOBODY);
}

// One thread for every cell: the label of those that agree, a place in the list for the others.
DEVICE void compare(Tile& tile, int thread) {
  if (thread >= CELLS) return;
  const int i = thread / TILE_COLUMNS, j = thread % TILE_COLUMNS;
  const unsigned char winner = tile.winner[i][j];
  tile.label[thread] = winner;
  if (tile.first_row[i] == tile.first_row[i + 1]) return;  // no pixel is in it
  if (tile.first_column[j] == tile.first_column[j + 1]) return;
  if (winner != NOBODY && winner == tile.winner[i][j + 1] && winner == tile.winner[i + 1][j] &&
      winner == tile.winner[i + 1][j + 1])
    return;
  const int place = take_place(&tile.count);
  tile.listed[place] = thread;
  tile.bar[place] = 0u;
  tile.candidates[place] = 0u;
}

template <typename T>
DEVICE Cell listed_cell(const Job<T>& job, const Tile& tile, int top, int left, int place) {
  Cell cell;
  cell.i = tile.listed[place] / TILE_COLUMNS;
  cell.j = tile.listed[place] % TILE_COLUMNS;
  const int row = top + cell.i, below = least(row + 1, job.rows - 1);
  const int column = left + cell.j, beside = least(column + 1, job.columns - 1);
  cell.corners[0] = row * job.columns + column;
  cell.corners[1] = row * job.columns + beside;
  cell.corners[2] = below * job.columns + column;
  cell.corners[3] = below * job.columns + beside;
  const float a = tile.distortion[cell.i][cell.j], b = tile.distortion[cell.i][cell.j + 1];
  const float c = tile.distortion[cell.i + 1][cell.j], d = tile.distortion[cell.i + 1][cell.j + 1];
  cell.mild = lesser(lesser(a, b), lesser(c, d));
  cell.severe = greater(greater(a, b), greater(c, d));
  return cell;
}

// Least and greatest logit of a class in a cell. The blend is linear in the distortion and convex
// in the corners: both are at a corner with the cell's least or greatest distortion.
template <typename T>
DEVICE void reach(const Job<T>& job, const Cell& cell, int k, float& low, float& high) {
  const int plane = k * (job.rows * job.columns);
  for (int n = 0; n < 4; ++n) {
    const int place = plane + cell.corners[n];
    const float w = load(job.warped + place), c = load(job.correction + place);
    const float a = mix(w, c, cell.mild), b = mix(w, c, cell.severe);
    low = n == 0 ? lesser(a, b) : lesser(low, lesser(a, b));
    high = n == 0 ? greater(a, b) : greater(high, greater(a, b));
  }
}

// One thread for every corner of a listed cell: the champions' least logits there, ...
template <typename T>
DEVICE void bound(const Job<T>& job, Tile& tile, int top, int left, int thread) {
  for (int n = thread; n < tile.count * 4; n += THREADS) {
    const Cell cell = listed_cell(job, tile, top, left, n / 4);
    float low, high;
    reach(job, cell, tile.champion[cell.i + n % 4 / 2][cell.j + n % 2], low, high);
    raise_to(&tile.bar[n / 4], in_order(low));
  }
}

// ... under the greatest of which a class cannot win anywhere in it.
template <typename T>
DEVICE void keep(const Job<T>& job, Tile& tile, int top, int left, int thread) {
  for (int n = thread; n < tile.count * SHARERS; n += THREADS) {
    const Cell cell = listed_cell(job, tile, top, left, n / SHARERS);
    const float bar = out_of_order(tile.bar[n / SHARERS]);
    unsigned candidates = 0u;
#pragma unroll 2
    for (int k = n % SHARERS; k < job.classes; k += SHARERS) {
      float low, high;
      reach(job, cell, k, low, high);
      if (high >= bar) candidates |= 1u << k;
    }
    set_bits(&tile.candidates[n / SHARERS], candidates);
  }
}

DEVICE bool settled(unsigned candidates) { return (candidates & (candidates - 1u)) == 0u; }

// A listed cell with one candidate left needs no interpolation either.
DEVICE void settle(Tile& tile, int thread) {
  if (thread >= tile.count) return;
  const unsigned candidates = tile.candidates[thread];
  if (settled(candidates))  // none where logits are no numbers
    tile.label[tile.listed[thread]] =
        static_cast<unsigned char>(candidates ? lowest_bit(candidates) : 0);
}
