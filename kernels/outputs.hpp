// Rows with several predictors, one a class: what batchlearn/objectives/losses/softmax.py says of them, in one pass.
//
// Numbers of all classes stand next to each other, in as many places as a multiple of eight holds: those behind the last
// class are zero. A matrix has such a row for each coefficient.
#pragma once

#include "rows.hpp"

constexpr std::ptrdiff_t MOST_CLASSES = 32;

// (coefficients, places) each; what is not wanted is null.
struct ClassFactors {
    const double* logits;     // of each class
    const double* sizes;      // of |X|: what the rounding of logits is proportional to
    const double* direction;  // changes of the logits
    const double* squares;    // of X^2, in the first place
};

struct ClassTotals {
    double value;     // weighted losses
    double smallest;  // weight times least curvature of a row that counts; infinite where none does
    double error;     // the largest reach of what rounding can do to logits
    double reach;     // the largest range of the change of a row's logits along the direction
    double spread;    // the largest X^2 u
    double* slopes;   // X' weight (p - y), (coefficients, places): added to, as the next
    double* errors;   // |X|' what those can be off by
};

struct ClassKernels {
    void (*pass)(const StoredRows& rows, const Labels& labels, std::ptrdiff_t classes, const ClassFactors& factors,
                 const Charges& charges, ClassTotals& totals);
    // x' A_p x of each row, (rows, places), of symmetric A_p by their lower triangles, (d (d + 1) / 2, places), row by row:
    // what stands off the diagonal is twice the entry.
    void (*forms)(const StoredRows& rows, std::ptrdiff_t places, const double* triangles, double* forms);
};

DECLARE_TABLE(ClassKernels, class_kernels)
