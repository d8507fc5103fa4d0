// A driver that runs our kernels on the CPU, so that the device layer can be tried without a GPU.
//
// Built with our .cu files into libcuda.so.1. It knows what the layer calls and nothing more, holds
// it to the rules (a context that is current, a stream of one's own, the right grid, nothing but
// work while a stream is captured), and does at once what is put into a stream.

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

struct Half;
extern "C" {
void warp_half(const Half*, const float*, Half*, int, int, int);
void warp_float(const float*, const float*, float*, int, int, int);
void correct_and_label_half(const Half*, const Half*, const Half*, unsigned char*, unsigned char*,
                            int, int, int, int, int);
void correct_and_label_float(const float*, const float*, const float*, unsigned char*,
                             unsigned char*, int, int, int, int, int);
void resize(const unsigned char*, unsigned char*, int, int, int, int, int);
void remember(float*, const unsigned char*, int, int);
void evidence(const float*, const unsigned char*, const float*, const float*, float*, int, int,
              float);
void judge(const float*, float*, int, int);
}

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500,
       CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
thread_local int pushed = 0;  // contexts current in this thread
int retained = 0, allocated = 0;
int the_context, the_module;

using Work = std::vector<std::function<void()>>;
thread_local void* captured = nullptr;  // stream that this thread captures
thread_local Work recorded;
thread_local bool spoilt = false;

unsigned parts(int size, int part) { return static_cast<unsigned>((size + part - 1) / part); }

// What a launch is given: addresses first, then numbers of four bytes.
struct Given {
  std::vector<void*> addresses;
  std::vector<int> numbers;
  template <typename T>
  T* at(int n) const { return static_cast<T*>(addresses[n]); }
  int operator[](int n) const { return numbers[n]; }
  float real(int n) const {
    float value;
    std::memcpy(&value, &numbers[n], sizeof value);
    return value;
  }
};

struct Grid { unsigned across, down; };

struct Kernel {
  const char* name;
  int addresses, numbers;
  Grid (*grid)(const Given&);
  void (*run)(const Given&);
};

Grid warp_grid(const Given& a) { return {parts(a[1] * a[2], 256), parts(a[0], 10)}; }
Grid label_grid(const Given& a) { return {parts(a[2], 31), parts(a[1], 7)}; }

template <typename T, void (*kernel)(const T*, const float*, T*, int, int, int)>
void run_warp(const Given& a) {
  kernel(a.at<T>(0), a.at<float>(1), a.at<T>(2), a[0], a[1], a[2]);
}

template <typename T, void (*kernel)(const T*, const T*, const T*, unsigned char*, unsigned char*,
                                     int, int, int, int, int)>
void run_labels(const Given& a) {
  kernel(a.at<T>(0), a.at<T>(1), a.at<T>(2), a.at<unsigned char>(3), a.at<unsigned char>(4), a[0],
         a[1], a[2], a[3], a[4]);
}

const Kernel KERNELS[] = {
    {"warp_half", 3, 3, warp_grid, run_warp<Half, warp_half>},
    {"warp_float", 3, 3, warp_grid, run_warp<float, warp_float>},
    {"correct_and_label_half", 5, 5, label_grid, run_labels<Half, correct_and_label_half>},
    {"correct_and_label_float", 5, 5, label_grid, run_labels<float, correct_and_label_float>},
    {"resize", 2, 5, [](const Given& a) { return Grid{parts(a[2] * a[3], 256), 1}; },
     [](const Given& a) {
       resize(a.at<unsigned char>(0), a.at<unsigned char>(1), a[0], a[1], a[2], a[3], a[4]);
     }},
    {"remember", 2, 2, [](const Given& a) { return Grid{parts(a[1], 256), 1}; },
     [](const Given& a) { remember(a.at<float>(0), a.at<unsigned char>(1), a[0], a[1]); }},
    {"evidence", 5, 3, [](const Given& a) { return Grid{parts(a[0] * a[1], 256), 1}; },
     [](const Given& a) {
       evidence(a.at<float>(0), a.at<unsigned char>(1), a.at<float>(2), a.at<float>(3),
                a.at<float>(4), a[0], a[1], a.real(2));
     }},
    {"judge", 2, 2, [](const Given& a) { return Grid{16, static_cast<unsigned>(a[0])}; },
     [](const Given& a) { judge(a.at<float>(0), a.at<float>(1), a[0], a[1]); }},
};

// Do it, or note it where the stream is captured.
int put(void* stream, std::function<void()> work) {
  if (!stream) return INVALID_VALUE;
  if (stream == captured) recorded.push_back(work);
  else work();
  return SUCCESS;
}

// What a captured stream does not take, and what takes memory meanwhile.
int refused() {
  spoilt = true;
  return CAPTURE_UNSUPPORTED;
}

}  // namespace

#define CALL extern "C" __attribute__((visibility("default"))) int
#define IN_CONTEXT if (pushed < 1) return INVALID_CONTEXT
#define NOT_CAPTURED if (captured) return refused()

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
  for (const Kernel& known : KERNELS) {
    if (std::strcmp(known.name, name) != 0) continue;
    *function = const_cast<Kernel*>(&known);
    return SUCCESS;
  }
  return NOT_FOUND;
}
CALL cuFuncSetBlockShape(void*, int, int, int) { return SUCCESS; }
CALL cuLaunchKernel(void* function, unsigned across, unsigned down, unsigned deep,
                    unsigned threads, unsigned y, unsigned z, unsigned, void* stream,
                    void** arguments, void** packed) {
  IN_CONTEXT;
  const Kernel& kernel = *static_cast<const Kernel*>(function);
  Given given;
  const char* next = arguments ? nullptr : static_cast<char*>(packed[1]);  // pycuda packs them
  for (int n = 0; n < kernel.addresses + kernel.numbers; ++n) {
    const int size = n < kernel.addresses ? 8 : 4;
    const void* from = arguments ? arguments[n] : next;
    void* address = nullptr;
    std::memcpy(&address, from, size);
    if (size == 8) given.addresses.push_back(address);
    else given.numbers.push_back(static_cast<int>(reinterpret_cast<intptr_t>(address)));
    if (!arguments) next += size;
  }
  const Grid expected = kernel.grid(given);
  if (threads != 256 || y != 1 || z != 1 || deep != 1 || across != expected.across ||
      down != expected.down)
    return INVALID_VALUE;
  return put(stream, [&kernel, given] { kernel.run(given); });
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
CALL cuStreamSynchronize(void* stream) {
  NOT_CAPTURED;
  return stream ? SUCCESS : INVALID_VALUE;
}
CALL cuLaunchHostFunc(void* stream, void (*function)(void*), void* given) {
  return put(stream, [=] { function(given); });
}
CALL cuStreamBeginCapture_v2(void* stream, int mode) {
  IN_CONTEXT;
  if (!stream || captured || mode != 1) return INVALID_VALUE;
  captured = stream;
  recorded.clear();
  spoilt = false;
  return SUCCESS;
}
CALL cuStreamEndCapture(void* stream, void** graph) {
  if (!stream || stream != captured) return INVALID_VALUE;
  captured = nullptr;
  *graph = spoilt ? nullptr : new Work(recorded);
  allocated += !spoilt;
  return spoilt ? CAPTURE_INVALIDATED : SUCCESS;
}
CALL cuGraphInstantiateWithFlags(void** made, void* graph, unsigned long long flags) {
  IN_CONTEXT;
  ++allocated;
  *made = new Work(*static_cast<Work*>(graph));
  return flags == 0 ? SUCCESS : INVALID_VALUE;
}
CALL cuGraphDestroy(void* graph) {
  --allocated;
  delete static_cast<Work*>(graph);
  return SUCCESS;
}
CALL cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }
CALL cuGraphLaunch(void* graph, void* stream) {
  IN_CONTEXT;
  if (!stream) return INVALID_VALUE;
  for (const auto& work : *static_cast<Work*>(graph)) work();
  return SUCCESS;
}
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
  NOT_CAPTURED;
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
  NOT_CAPTURED;
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
  return put(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, size); });
}
CALL cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t size, void* stream) {
  IN_CONTEXT;
  return put(stream, [=] { std::memcpy(to, reinterpret_cast<void*>(from), size); });
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
