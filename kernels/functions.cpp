#include "functions.hpp"

#include "vectors.hpp"

namespace KERNEL_LEVEL {
namespace {

template <Doubles (*function)(Doubles)>
void each(const double* x, double* result, std::size_t count) {
    double padded[LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
    std::size_t start = 0;
    for (; start + LANES <= count; start += LANES) store(result + start, function(load(x + start)));
    for (std::size_t i = start; i < count; ++i) padded[i - start] = x[i];
    store(padded, function(load(padded)));
    for (std::size_t i = start; i < count; ++i) result[i] = padded[i - start];
}

}  // namespace

extern const Functions functions = {each<exponential>, each<logarithm>, each<logarithm_of_one_and>,
                                    each<exponential_less_its_start>};

}  // namespace KERNEL_LEVEL
