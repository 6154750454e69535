// How the kernels come to Python: arrays in, arrays out, the interpreter's lock released meanwhile.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

namespace nb = nanobind;

// One number a row or coefficient, one after the other in memory.
using Vector = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Each adds the functions of one file to the module.
void bind_functions(nb::module_& module);
void bind_rows(nb::module_& module);
void bind_epochs(nb::module_& module);
void bind_arrays(nb::module_& module);
