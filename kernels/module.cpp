#include "bindings.hpp"
#include "levels.hpp"

namespace {

int highest_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const auto has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const auto has_v4 = has_v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    const auto has_v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    return has_v4 ? 4 : has_v3 ? 3 : has_v2 ? 2 : -1;
#else
    return 0;
#endif
}

int serving = highest_level();

}  // namespace

int serving_level() { return serving; }

NB_MODULE(compiled, module) {
    if (serving < 0) throw nb::import_error("this processor is older than x86-64-v2");
    module.def("level", serving_level, "The instruction set that serves: 2, 3 or 4 of x86-64, 0 elsewhere.");
    module.def(
        "use_level",
        [](int wanted) {
            const int highest = highest_level();
            if (wanted != highest && !(wanted >= 2 && wanted < highest)) throw nb::value_error("no such level here");
            serving = wanted;
        },
        "For tests: let a lower instruction set serve.");
    bind_functions(module);
    bind_rows(module);
    bind_epochs(module);
    bind_arrays(module);
}
