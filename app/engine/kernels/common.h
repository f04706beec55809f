// Vocabulary of all kernels. VW is the number of floats in VT (1, 2, 4, 8 or 16).
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#ifdef VW
#if VW == 1
#define VT float
#define VI int
#define VLOAD(p) (*(p))
#define VSTORE(v, p) (*(p) = (v))
#define OF_ARRAY(t) (*(t))
#define TO_ARRAY(v, t) (*(t) = (v))
#else
#define VT CAT(float, VW)
#define VI CAT(int, VW)
// A vector of global memory that lies where floats may lie: vloadn and vstoren are many instructions,
// of which a compiler makes one at last, and not always the best one.
typedef __attribute__((aligned(4))) VT VU;
// A function, since to pass vectors tells clang that registers of their width may be used.
static inline VT vector_at(__global const float* p) { return *(__global const VU*)p; }
#define VLOAD(p) vector_at(p)
#define VSTORE(v, p) (*(__global VU*)(p) = (v))
// The same of a work-item's own array.
#define OF_ARRAY(t) CAT(vload, VW)(0, t)
#define TO_ARRAY(v, t) CAT(vstore, VW)(v, 0, t)
#endif
#endif
// Constant weights: half in memory with HALF_WEIGHTS, float in registers always.
#if HALF_WEIGHTS
#define WT half
#if VW == 1
#define WLOAD(p) vload_half(0, p)
#else
#define WLOAD(p) CAT(vload_half, VW)(0, p)
#endif
#else
#define WT float
#define WLOAD(p) VLOAD(p)
#endif
// Operands of an epilogue step: idx is v's index in the output, c its channel.
#define E_SAME(p) VLOAD((p) + idx)
#define E_CHAN(p) VLOAD((p) + c)
#ifdef VW
// An operand with fewer channels than the output, zero beyond them.
static inline VT padded(__global const float* p, int idx, int c, int channels, int all)
{
    p += (idx - c) / all * channels + c;
    if (c + VW <= channels) return VLOAD(p);
    float t[VW];
    for (int i = 0; i < VW; i++) t[i] = c + i < channels ? p[i] : 0.0f;
    return OF_ARRAY(t);
}
#endif
#define E_PADDED(p, channels, all) padded(p, idx, c, channels, all)
#ifndef EPI_PARAMS
#define EPI_PARAMS
#define EPILOGUE
#endif
// On GPUs the first two axes of a launch are one, so that no lane of a wavefront idles on a short one.
#ifdef FLAT
#define AXIS0(extent) ((int)(get_global_id(0) % (extent)))
#define AXIS1(extent) ((int)(get_global_id(0) / (extent)))
#else
#define AXIS0(extent) ((int)get_global_id(0))
#define AXIS1(extent) ((int)get_global_id(1))
#endif
#define UNROLL _Pragma("unroll")
// Wavefronts per SIMD that a kernel wants at least: LLVM then keeps to as many registers as allow it.
#ifdef __AMDGCN__
#define WAVES(n) __attribute__((amdgpu_waves_per_eu(n)))
#else
#define WAVES(n)
#endif
#define ROLLED _Pragma("unroll 1")
