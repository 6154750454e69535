// Where NumPy's large arrays lie: in memory while there is room, then in files that have no name, which the system
// writes out and reads again as it needs memory for others. NumPy asks a handler for the memory of each array (NEP 49).
#include "bindings.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <mutex>
#include <nanobind/stl/string.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <unordered_map>

namespace {

// As NumPy has it; its binary interface keeps the layout and the places of the functions.
struct Allocator {
    void* of;
    void* (*malloc)(void*, std::size_t);
    void* (*calloc)(void*, std::size_t, std::size_t);
    void* (*realloc)(void*, void*, std::size_t);
    void (*free)(void*, void*, std::size_t);
};

struct Handler {
    char name[127];
    std::uint8_t version;
    Allocator allocator;
};

using SetHandler = PyObject* (*)(PyObject*);
constexpr int set_handler_place = 304;
constexpr const char* capsule_name = "mem_handler";

struct Large {
    std::size_t size;
    bool in_file;
};

// Outlives every array that it gave memory to: each holds the capsule of the handler.
struct Arrays {
    Handler handler;
    std::string folder;
    std::size_t large, room;  // bytes of an array that counts as large, and of all such that may be in memory
    std::size_t held = 0;
    int failed = 0;  // the last error of a file
    std::unordered_map<void*, Large> known;
    std::atomic<std::size_t> count = 0;  // of those known: most programs have none, and nothing to look up
    std::mutex lock;

    void* in_file(std::size_t size) {
        std::error_code ignored;  // what cannot be made cannot be opened
        std::filesystem::create_directories(folder, ignored);
        int file = -1;
#ifdef O_TMPFILE
        file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#endif
        if (file < 0) {
            std::string name = folder + "/batchlearn-XXXXXX";
            file = mkstemp(name.data());
            if (file >= 0) unlink(name.c_str());
        }
        if (file < 0) {
            failed = errno;
            return nullptr;
        }
        // The room is taken now: a disk that is full later would end the process.
        failed = posix_fallocate(file, 0, static_cast<off_t>(size));
        void* mapped = MAP_FAILED;
        if (failed == 0) {
            mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (mapped == MAP_FAILED) failed = errno;
        }
        close(file);
        return mapped == MAP_FAILED ? nullptr : mapped;
    }

    void* get(std::size_t size, bool zeroed) {
        if (size < large) return zeroed ? std::calloc(size ? size : 1, 1) : std::malloc(size ? size : 1);
        const std::lock_guard<std::mutex> locked(lock);
        const bool fits = held + size <= room;
        void* found = !fits ? in_file(size) : zeroed ? std::calloc(size, 1) : std::malloc(size);
        if (found != nullptr) {
            known.emplace(found, Large{size, !fits});
            count = known.size();
            held += fits ? size : 0;
        }
        return found;
    }

    // Bytes of a large array; 0 for another.
    std::size_t size_of(void* array) {
        const std::lock_guard<std::mutex> locked(lock);
        const auto found = known.find(array);
        return found == known.end() ? 0 : found->second.size;
    }

    void give_back(void* array) {
        if (count != 0) {
            const std::lock_guard<std::mutex> locked(lock);
            const auto found = known.find(array);
            if (found != known.end()) {
                const Large was = found->second;
                known.erase(found);
                count = known.size();
                if (was.in_file) {
                    munmap(array, was.size);
                    return;
                }
                held -= was.size;
            }
        }
        std::free(array);
    }

    void* resized(void* array, std::size_t size) {
        const std::size_t before = array == nullptr ? 0 : size_of(array);
        if (before == 0 && size < large) return std::realloc(array, size ? size : 1);
        if (before == 0 && array != nullptr) return std::realloc(array, size);  // how large it was, nobody knows
        void* found = get(size, false);
        if (found != nullptr && array != nullptr) {
            std::memcpy(found, array, before < size ? before : size);
            give_back(array);
        }
        return found;
    }
};

Arrays* arrays(void* of) { return static_cast<Arrays*>(of); }

SetHandler set_handler() {
    const nb::object table = nb::module_::import_("numpy._core._multiarray_umath").attr("_ARRAY_API");
    void** functions = static_cast<void**>(PyCapsule_GetPointer(table.ptr(), nullptr));
    if (functions == nullptr) throw nb::python_error();
    return reinterpret_cast<SetHandler>(functions[set_handler_place]);
}

nb::object array_memory(const std::string& folder, std::size_t large, std::size_t room) {
    auto* made = new Arrays();
    made->folder = folder;
    made->large = large ? large : 1;
    made->room = room;
    std::strcpy(made->handler.name, "batchlearn");
    made->handler.version = 1;
    made->handler.allocator = {
        made,
        [](void* of, std::size_t size) { return arrays(of)->get(size, false); },
        [](void* of, std::size_t count, std::size_t size) { return arrays(of)->get(count * size, true); },
        [](void* of, void* array, std::size_t size) { return arrays(of)->resized(array, size); },
        [](void* of, void* array, std::size_t) { arrays(of)->give_back(array); },
    };
    PyObject* capsule = PyCapsule_New(&made->handler, capsule_name, [](PyObject* dying) {
        auto* handler = static_cast<Handler*>(PyCapsule_GetPointer(dying, capsule_name));
        delete arrays(handler->allocator.of);
    });
    if (capsule == nullptr) {
        delete made;
        throw nb::python_error();
    }
    return nb::steal(capsule);
}

nb::object use_array_memory(nb::object memory) {
    PyObject* before = set_handler()(memory.ptr());
    if (before == nullptr) throw nb::python_error();
    return nb::steal(before);
}

int array_memory_error(nb::object memory) {
    auto* handler = static_cast<Handler*>(PyCapsule_GetPointer(memory.ptr(), capsule_name));
    if (handler == nullptr) throw nb::python_error();
    return arrays(handler->allocator.of)->failed;
}

// What is said, and exited with, where a page of a mapped file cannot be read: no exception can come of that.
char last_words[2048];
int last_code;
struct sigaction bus_error_before;

void say_and_end(int number) {
    if (write(STDERR_FILENO, last_words, std::strlen(last_words)) < 0) {}  // nobody can be told
    if (bus_error_before.sa_handler == SIG_DFL) _exit(last_code);
    sigaction(number, &bus_error_before, nullptr);  // who listened before is next: the page is asked for again
}

void end_at_bus_error(const std::string& words, int code) {
    std::strncpy(last_words, words.c_str(), sizeof last_words - 1);
    last_code = code;
    struct sigaction ours = {}, now;
    ours.sa_handler = say_and_end;
    ours.sa_flags = SA_ONSTACK;
    sigaction(SIGBUS, nullptr, &now);
    if (now.sa_handler == say_and_end) return;
    bus_error_before = now;
    sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

void bind_arrays(nb::module_& module) {
    module.def("array_memory", array_memory,
               "Return a memory for NumPy's arrays: those of so many bytes go to files once they fill a room.");
    module.def("use_array_memory", use_array_memory,
               "Have new arrays of this context lie in a memory; return the one before.");
    module.def("end_at_bus_error", end_at_bus_error,
               "Have this process say words and exit with a code where a page of a mapped file cannot be read.");
    module.def("array_memory_error", array_memory_error, "Return the number of the last error of a file; 0 for none.");
}
