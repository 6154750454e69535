#include "bindings.hpp"
#include "functions.hpp"

namespace {

template <void (*Functions::*function)(const double*, double*, std::size_t)>
void each(Vector x, Result result) {
    if (x.shape(0) != result.shape(0)) throw nb::value_error("the result needs as many places as there are numbers");
    (SERVING(functions).*function)(x.data(), result.data(), x.shape(0));
}

}  // namespace

void bind_functions(nb::module_& module) {
    using Release = nb::call_guard<nb::gil_scoped_release>;
    module.def("exponential", each<&Functions::exponential>, Release());
    module.def("logarithm", each<&Functions::logarithm>, Release());
    module.def("logarithm_of_one_and", each<&Functions::logarithm_of_one_and>, Release());
    module.def("exponential_less_its_start", each<&Functions::exponential_less_its_start>, Release());
}
