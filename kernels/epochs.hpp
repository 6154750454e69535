// Stretches of rows that are learned from one by one or batch by batch: what batchlearn/kernels/online/newton.py
// and diagonal.py, stochastic.py and variance_reduced.py do in NumPy.
//
// A row is a 1 for the intercept, its dense columns, each read as (value - shift) / scale, one indicator for each group of
// levels, and a sparse part. Coefficients stand in that order. A code equal to the number of levels meets none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "levels.hpp"

using Count = std::ptrdiff_t;

// Rows as they are stored, with what is to be learned from each; strides in entries.
struct Stretch {
    Count rows, size;  // size: the coefficients
    const void* dense;
    bool single;  // 4 bytes a number, else 8
    Count columns, row_stride, column_stride;
    const double* shift;
    const double* scale;
    bool intercept;
    const void* codes;
    int code_bytes;  // 1, 2, 4 or 8
    Count groups, code_row_stride, code_group_stride;
    const std::int64_t* levels;
    const void* pointers;  // null where there is no sparse part
    const void* indices;
    const void* entries;
    int index_bytes;       // 4 or 8, of pointers and indices alike
    bool single_entries;
    const double* sparse_factor;  // of each column, null where all are one
    Count first;                  // the coefficient of sparse column 0
    const double* label;
    const double* weight;  // null where all are one
    const double* offset;  // null where all are zero

    Count lead() const { return columns + (intercept ? 1 : 0); }
};

// Half a quadratic form: strengths on the diagonal, and symmetric blocks of it, one after the other in `matrices`.
struct QuadraticPenalty {
    Count size, blocks;
    const double* strengths;
    const std::int64_t* starts;
    const std::int64_t* stops;
    const double* matrices;
};

enum class LossKind { SQUARED = 0, LOGISTIC = 1, POISSON = 2, GAMMA = 3, TWEEDIE = 4, HUBER = 5 };

struct CompiledLoss {
    LossKind kind;
    double parameter;  // power or threshold
};

// Parameter, curvature, mean square of the values that are not 0 and the weight of these, of each coefficient side by side:
// what a sparse row meets then lies in one line of the cache. `sums` holds the weight of rows and of their entries, squared
// slopes, curvatures, the prior's strength, the curvature along it, the weight whose penalty is due, and rows waiting.
struct DiagonalCells {
    double* cells;  // (size + 1, 4)
    double* sums;   // (8,)
    Count interval;
};

// The penalty of partial_fit: after each `block` rows a few coefficients, in turn, are brought up to the weight so far.
struct PenaltyTurns {
    const double* strengths;  // (size,), null where no penalty is due
    double* paid;             // (size,)
    double* weight;           // so far
    std::int64_t* turn;
    Count block, in_turn, lead;
    double least;  // share of its coefficient that a payment has to be
};

struct GradientWalk {
    double* parameters;  // (size + 1,)
    double* moves;       // (size + 1,)
    double* sums;        // batches in the window, rates due, batches waiting
    Count interval;
    const double* majorant;  // (size,)
};

struct Batches {
    Count count;
    const std::int64_t* starts;
    const std::int64_t* stops;
    const double* weights;
    const double* rates;  // null where steps have none
};

struct ReducedWalk {
    const float* inverse;  // (size, size)
    double length;
    const double* anchor;    // (size,), null where there is none
    const double* gradient;  // (size,): of all rows, at the anchor
    double* parameters;      // (size,)
    double* mean;            // (size,)
    std::int64_t* count;
};

struct DiagonalKernels {
    // `shown` may be null.
    void (*diagonal)(const Stretch& rows, const Stretch* shown, CompiledLoss loss, const QuadraticPenalty& penalty,
                     const DiagonalCells& state, double* predictors);
};

struct NewtonKernels {
    void (*newton)(const Stretch& rows, const Stretch* shown, CompiledLoss loss, double* parameters, double* inverse,
                   const PenaltyTurns& turns, double* predictors);
};

struct BatchKernels {
    // The penalty that is due is stepped along after the last batch as well where `last` says so.
    void (*gradient)(const Stretch& rows, CompiledLoss loss, const QuadraticPenalty& penalty, const Batches& batches,
                     const GradientWalk& walk, bool last);
    void (*reduced)(const Stretch& rows, CompiledLoss loss, const QuadraticPenalty& penalty, const Batches& batches,
                    const ReducedWalk& walk);
};

DECLARE_TABLE(DiagonalKernels, diagonal_kernels)
DECLARE_TABLE(NewtonKernels, newton_kernels)
DECLARE_TABLE(BatchKernels, batch_kernels)
