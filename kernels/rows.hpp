// Products of encoded rows with vectors, and sums over them: what batchlearn/kernels/design.py and sums.py do in NumPy.
//
// A row is a 1 for the intercept, its dense columns, each read as (value - shift) / scale, one indicator for each group
// of levels, and sparse columns. A code equal to the number of levels of its group meets no coefficient.
#pragma once

#include <cstddef>
#include <cstdint>

#include "levels.hpp"

enum class Entries { AS_THEY_ARE = 0, ABSOLUTE = 1, SQUARED = 2 };

enum class Loss { SQUARED = 0, LOGISTIC = 1, POISSON = 2, GAMMA = 3 };

// The sparse part of some rows, CSR; pointers and indices are of one type.
struct SparseRows {
    const void* pointers;  // null where there is none
    const void* indices;
    const void* entries;
    int index_bytes;  // 4 or 8
    bool single;      // 4 bytes an entry, else 8
    std::ptrdiff_t columns;
    const double* factor;  // what each column's entries are multiplied by; null where that is one
    Entries kind;
};

// Rows as they are stored; strides in entries.
struct StoredRows {
    std::ptrdiff_t rows;
    const void* dense;
    bool single;  // 4 bytes a number, else 8
    std::ptrdiff_t columns, row_stride, column_stride;
    const double* shift;
    const double* scale;
    bool intercept;
    Entries entries;
    const void* codes;
    int code_bytes;  // 1, 2, 4 or 8
    std::ptrdiff_t groups, code_row_stride, code_group_stride;
    const std::int64_t* levels;
    SparseRows sparse;

    std::ptrdiff_t lead() const { return columns + (intercept ? 1 : 0); }
};

// The sum of products that BLAS forms fastest where there are many columns: C += A' A, the lower triangle in Fortran's order.
using SymmetricUpdate = void (*)(char* triangle, char* transposed, int* size, int* length, double* factor, double* a,
                                 int* a_stride, double* beta, double* c, int* c_stride);

// What a pass adds up at given parameters; what is not wanted is null.
struct Totals {
    double value;      // weighted losses
    double smallest;   // weight times curvature of a row that counts; infinite where none does
    double predictor;  // the largest possible error of a predictor
    double curvature;  // sum of weight times curvature
    double reach;      // the largest change of a predictor per unit of the direction, of rows that count
    double spread;     // the largest X^2 u of a row that counts
    double* gradient;   // (coefficients,)
    double* gram;       // (coefficients + 1, coefficients + 1): the upper triangle; the last row and column are rubbish
    double* error;      // (coefficients,): |X|' what each slope can be off by
    double* centre;     // (coefficients,): X' weight curvature
    double* magnitude;  // (coefficients,): |X|' weight curvature
};

// How predictors are rounded, and sums: the factors of `statistics/rounding.py`.
struct Charges {
    double predictor;  // of |X| |w| + |offset|
    double slope;      // of the largest number met while a slope is computed
    double sum;        // of the slope
    double underflow;
};

struct Labels {
    const double* label;
    const double* weight;  // null where all are one
    const double* offset;  // null where all are zero
};

struct RowKernels {
    void (*predictors)(const StoredRows& rows, const double* parameters, double* eta);
    void (*transposed)(const StoredRows& rows, const double* values, double* total);
    void (*gram)(const StoredRows& rows, const double* values, double* gram, SymmetricUpdate update);
    // Of each row, without a sparse part, x' A x; A (coefficients + 1, coefficients + 1) is symmetric, its last row and
    // column are zeros.
    void (*forms)(const StoredRows& rows, const double* matrix, double* results);
    // Of each dense column, (lead,): the smallest and the largest value, and the weighted sums of the distances from a
    // centre and of their squares. Of each sparse one, (columns, 8), the same of the entries that are there, about 0, and
    // how many there are.
    void (*extents)(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
                    double* first, double* second, double* sparse);
    // `sizes`: of the parameters that predictors may be rounded at; `squares`: u. What is not wanted is null.
    void (*pass)(const StoredRows& rows, const Labels& labels, Loss loss, const double* parameters, const double* sizes,
                 const double* direction, const double* squares, const Charges& charges, Totals& totals, SymmetricUpdate update);
};

DECLARE_TABLE(RowKernels, row_kernels)
