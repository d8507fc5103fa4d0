// A driver that runs our kernels on the CPU, so that the device layer can be tried without a GPU.
//
// Built with flow_warp.cu into libcuda.so.1. It knows what the layer calls and nothing more, holds
// it to the rules (a context that is current, a stream of one's own, the right grid), and does at
// once what is put into a stream.

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

struct Half;
extern "C" {
void warp_half(const Half*, const float*, Half*, int, int, int);
void warp_float(const float*, const float*, float*, int, int, int);
void correct_and_label_half(const Half*, const Half*, const Half*, unsigned char*, unsigned char*,
                            int, int, int, int, int);
void correct_and_label_float(const float*, const float*, const float*, unsigned char*,
                             unsigned char*, int, int, int, int, int);
}

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
thread_local int pushed = 0;  // contexts current in this thread
int retained = 0, allocated = 0;
int the_context, the_module;
const char* const NAMES[] = {"warp_half", "warp_float", "correct_and_label_half",
                             "correct_and_label_float"};

template <typename T>
T given(void** arguments, int number) {
  T value;
  std::memcpy(&value, arguments[number], sizeof value);
  return value;
}

template <typename T>
void run_warp(void (*kernel)(const T*, const float*, T*, int, int, int), void** a) {
  kernel(given<const T*>(a, 0), given<const float*>(a, 1), given<T*>(a, 2), given<int>(a, 3),
         given<int>(a, 4), given<int>(a, 5));
}

template <typename T>
void run_labels(void (*kernel)(const T*, const T*, const T*, unsigned char*, unsigned char*, int,
                               int, int, int, int),
                void** a) {
  kernel(given<const T*>(a, 0), given<const T*>(a, 1), given<const T*>(a, 2),
         given<unsigned char*>(a, 3), given<unsigned char*>(a, 4), given<int>(a, 5),
         given<int>(a, 6), given<int>(a, 7), given<int>(a, 8), given<int>(a, 9));
}

unsigned parts(int size, int part) { return static_cast<unsigned>((size + part - 1) / part); }

}  // namespace

#define CALL extern "C" __attribute__((visibility("default"))) int
#define IN_CONTEXT if (pushed < 1) return INVALID_CONTEXT

CALL cuInit(unsigned) { return SUCCESS; }
CALL cuDriverGetVersion(int* version) { *version = 13000; return SUCCESS; }
CALL cuDeviceGetCount(int* count) { *count = 1; return SUCCESS; }
CALL cuDeviceGet(int* device, int number) {
  *device = 0;
  return number == 0 ? SUCCESS : 101;  // invalid device
}
CALL cuDeviceGetName(char* name, int length, int) {
  std::strncpy(name, "Fake", length);
  return SUCCESS;
}
CALL cuDeviceGetAttribute(int* value, int, int) { *value = 9; return SUCCESS; }
CALL cuDeviceComputeCapability(int* major, int* minor, int) {
  *major = *minor = 9;
  return SUCCESS;
}
CALL cuDevicePrimaryCtxRetain(void** context, int) {
  ++retained;
  *context = &the_context;
  return SUCCESS;
}
CALL cuDevicePrimaryCtxRelease_v2(int) { --retained; return SUCCESS; }
CALL cuCtxPushCurrent_v2(void* context) {
  if (context != &the_context) return INVALID_CONTEXT;
  ++pushed;
  return SUCCESS;
}
CALL cuCtxPopCurrent_v2(void** context) {
  IN_CONTEXT;
  --pushed;
  *context = &the_context;
  return SUCCESS;
}
CALL cuModuleLoadData(void** module, const void* image) {
  IN_CONTEXT;
  *module = &the_module;
  return image ? SUCCESS : INVALID_VALUE;
}
CALL cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void*) {
  return cuModuleLoadData(module, image);
}
CALL cuModuleUnload(void* module) { return module == &the_module ? SUCCESS : INVALID_VALUE; }
CALL cuModuleGetFunction(void** function, void*, const char* name) {
  IN_CONTEXT;
  for (const char* const& known : NAMES) {
    if (std::strcmp(known, name) != 0) continue;
    *function = const_cast<const char**>(&known);
    return SUCCESS;
  }
  return NOT_FOUND;
}
CALL cuFuncSetBlockShape(void*, int, int, int) { return SUCCESS; }
CALL cuLaunchKernel(void* function, unsigned across, unsigned down, unsigned deep,
                    unsigned threads, unsigned y, unsigned z, unsigned, void* stream,
                    void** arguments, void** packed) {
  IN_CONTEXT;
  const std::string name = *static_cast<const char* const*>(function);
  void* pointers[10];
  if (!arguments) {  // pycuda packs them: pointers first, then numbers
    char* next = static_cast<char*>(packed[1]);
    const int addresses = name[0] == 'w' ? 3 : 5, count = name[0] == 'w' ? 6 : 10;
    for (int n = 0; n < count; ++n) {
      pointers[n] = next;
      next += n < addresses ? 8 : 4;
    }
    arguments = pointers;
  }
  const bool warp = name[0] == 'w';
  const unsigned expected[2] = {
      warp ? parts(given<int>(arguments, 4) * given<int>(arguments, 5), 256)
           : parts(given<int>(arguments, 7), 31),
      warp ? parts(given<int>(arguments, 3), 10) : parts(given<int>(arguments, 6), 7)};
  if (!stream || threads != 256 || y != 1 || z != 1 || deep != 1 || across != expected[0] ||
      down != expected[1])
    return INVALID_VALUE;
  if (name == "warp_half") run_warp(warp_half, arguments);
  if (name == "warp_float") run_warp(warp_float, arguments);
  if (name == "correct_and_label_half") run_labels(correct_and_label_half, arguments);
  if (name == "correct_and_label_float") run_labels(correct_and_label_float, arguments);
  return SUCCESS;
}
CALL cuStreamCreate(void** stream, unsigned flags) {
  IN_CONTEXT;
  *stream = std::malloc(1);
  ++allocated;
  return flags == 1 ? SUCCESS : INVALID_VALUE;  // one that does not wait for the default stream
}
CALL cuStreamDestroy_v2(void* stream) {
  std::free(stream);
  --allocated;
  return SUCCESS;
}
CALL cuStreamSynchronize(void* stream) { return stream ? SUCCESS : INVALID_VALUE; }
CALL cuEventCreate(void** event, unsigned) {
  *event = std::malloc(1);
  ++allocated;
  return SUCCESS;
}
CALL cuEventRecord(void*, void* stream) { return stream ? SUCCESS : INVALID_VALUE; }
CALL cuEventElapsedTime_v2(float* milliseconds, void*, void*) {
  *milliseconds = 1.5f;
  return SUCCESS;
}
CALL cuEventElapsedTime(float* milliseconds, void* first, void* last) {
  return cuEventElapsedTime_v2(milliseconds, first, last);
}
CALL cuEventDestroy_v2(void* event) {
  std::free(event);
  --allocated;
  return SUCCESS;
}
CALL cuMemAlloc_v2(uint64_t* address, size_t size) {
  IN_CONTEXT;
  ++allocated;
  *address = reinterpret_cast<uint64_t>(std::malloc(size));
  return SUCCESS;
}
CALL cuMemFree_v2(uint64_t address) {
  IN_CONTEXT;
  --allocated;
  std::free(reinterpret_cast<void*>(address));
  return SUCCESS;
}
CALL cuMemHostAlloc(void** address, size_t size, unsigned) {
  IN_CONTEXT;
  ++allocated;
  *address = std::malloc(size);
  return SUCCESS;
}
CALL cuMemFreeHost(void* address) {
  --allocated;
  std::free(address);
  return SUCCESS;
}
CALL cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t size, void* stream) {
  IN_CONTEXT;
  std::memcpy(reinterpret_cast<void*>(to), from, size);
  return stream ? SUCCESS : INVALID_VALUE;
}
CALL cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t size, void* stream) {
  IN_CONTEXT;
  std::memcpy(to, reinterpret_cast<void*>(from), size);
  return stream ? SUCCESS : INVALID_VALUE;
}
CALL cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void* stream) {
  return cuMemcpyHtoDAsync_v2(to, reinterpret_cast<void*>(from), size, stream);
}
CALL cuGetErrorName(int, const char** name) { *name = "FAKE_ERROR"; return SUCCESS; }
CALL cuGetErrorString(int, const char** text) { *text = "refused"; return SUCCESS; }

// What a test asks: what was pushed in this thread, and what was taken and not given back.
CALL fake_pushed() { return pushed; }
CALL fake_taken() { return retained + allocated; }

CALL cuGetProcAddress_v2(const char* symbol, void** found, int, uint64_t, int* status) {
  const std::string name(symbol);
  *found = nullptr;
  for (const char* version : {"_v2", ""})
    if (!*found) *found = dlsym(dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD), (name + version).c_str());
  if (status) *status = *found ? 0 : 1;
  return *found ? SUCCESS : NOT_FOUND;
}
