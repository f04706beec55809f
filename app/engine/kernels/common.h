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
// What is half in memory is float in registers always. With HALVES a tensor's vectors begin at
// multiples of so many elements, 1 or VW; constant weights are packed in whole vectors.
#ifdef __AMDGCN__
// LLVM's own vload_half and vloada_half load one after the other.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define WHOLE_LOAD(n, p) CAT(convert_float, n)(*(__global const CAT(half, n)*)(p))
#define WHOLE_STORE(n, v, p) (*(__global CAT(half, n)*)(p) = CAT(CAT(convert_half, n), _rte)(v))
#else
#define WHOLE_LOAD(n, p) CAT(vloada_half, n)(0, p)
#define WHOLE_STORE(n, v, p) CAT(CAT(vstorea_half, n), _rte)(v, 0, p)
#endif
#if VW == 1
#define HLOAD(p) vload_half(0, p)
#define HSTORE(v, p) vstore_half_rte(v, 0, p)
#elif HALVES == VW
#define HLOAD(p) WHOLE_LOAD(VW, p)
#define HSTORE(v, p) WHOLE_STORE(VW, v, p)
#else
#define HLOAD(p) CAT(vload_half, VW)(0, p)
#define HSTORE(v, p) CAT(CAT(vstore_half, VW), _rte)(v, 0, p)
#endif
// Tensors that may be either: the first and the second that a kernel reads, and what it writes.
// LOAD and STORE move vectors of VW, ONE a single number.
#if X_HALF
#define XT half
#define XLOAD(p) HLOAD(p)
#define XONE(p) vload_half(0, p)
#else
#define XT float
#define XLOAD(p) VLOAD(p)
#define XONE(p) (*(p))
#endif
#if X2_HALF
#define X2T half
#define X2LOAD(p) HLOAD(p)
#else
#define X2T float
#define X2LOAD(p) VLOAD(p)
#endif
#if Y_HALF
#define YT half
#define YSTORE(v, p) HSTORE(v, p)
#else
#define YT float
#define YSTORE(v, p) VSTORE(v, p)
#endif
// What an epilogue leaves of a value: the float, its integer as a byte, or both (engine/bytewise.py).
#if BYTES_ONLY
#define KEEP(v, p)
#else
#define KEEP(v, p) YSTORE(v, p)
#endif
#if defined(VW) && VW > 1
typedef __attribute__((aligned(1))) CAT(uchar, VW) BYTES_ANYWHERE;
#define BYTES_STORE(v, p, zero) \
    *(__global BYTES_ANYWHERE*)(p) = CAT(convert_uchar, VW)(CAT(convert_int, VW)(v) + (zero))
#else
#define BYTES_STORE(v, p, zero) *(p) = convert_int(v) + (zero)
#endif
#if HALF_WEIGHTS
#define WT half
#if VW == 1
#define WLOAD(p) vload_half(0, p)
#else
#define WLOAD(p) WHOLE_LOAD(VW, p)
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
#if HALVES
static inline VT padded_half(__global const half* p, int idx, int c, int channels, int all)
{
    p += (idx - c) / all * channels + c;
    float t[VW];
    for (int i = 0; i < VW; i++) t[i] = c + i < channels ? vload_half(i, p) : 0.0f;
    return OF_ARRAY(t);
}
#endif
#endif
#define E_PADDED(p, channels, all) padded(p, idx, c, channels, all)
#define E_HALF_SAME(p) HLOAD((p) + idx)
#define E_HALF_CHAN(p) HLOAD((p) + c)
#define E_HALF_PADDED(p, channels, all) padded_half(p, idx, c, channels, all)
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
// The nearest whole number, the even one of two, and the one away from zero. PoCL's rint and round take
// several times as long as adding a number that has no bits left for fractions, which is right up to
// 2^22, and as adding the largest float below a half, which moves every half over the edge and nothing
// that lies below one. So does its erf, which is a quotient of polynomials here: a fit of our own, with
// an error of 5e-7 at most.
#if defined(__x86_64__) && defined(VW)
#define NEAREST(v) (((v) + 12582912.0f) - 12582912.0f)
#if VW == 1
#define TRUNCATED(v) convert_float(convert_int(v))
#else
#define TRUNCATED(v) CAT(convert_float, VW)(CAT(convert_int, VW)(v))
#endif
#define AWAY(v) away(v)
static inline VT away(VT v)
{
    return TRUNCATED(v + (v < 0.0f ? (VT)(-0.49999997f) : (VT)(0.49999997f)));
}
#define ERF(v) error_function(v)
static inline VT error_function(VT v)
{
    const VT x = v < -4.0f ? (VT)(-4.0f) : v > 4.0f ? (VT)(4.0f) : v, t = x * x;
    const VT over = (((((1.9110919e-8f * t - 1.9422828e-6f) * t + 1.472804e-4f) * t + 3.990341e-3f) * t
                     + 5.1524177e-2f) * t + 2.0712e-1f) * t + 1.1283791f;
    const VT under = (((1.0210547e-3f * t + 1.4957612e-2f) * t + 1.1796857e-1f) * t + 5.168866e-1f) * t
        + 1.0f;
    const VT made = x * over / under;
    return made < -1.0f ? (VT)(-1.0f) : made > 1.0f ? (VT)(1.0f) : made;
}
#else
#define NEAREST(v) rint(v)
#define AWAY(v) round(v)
#define ERF(v) erf(v)
#endif
#ifdef VW
// table[v] of whole numbers v; a table has 256 numbers. What is no number finds some.
static inline VT looked_up(__global const float* restrict table, VT v)
{
#if VW == 1
    return table[clamp(convert_int(v), 0, 255)];
#else
    const VI at = clamp(CAT(convert_int, VW)(v), 0, 255);
#if VW == 16 && defined(__AVX512F__)
    return __builtin_ia32_gathersiv16sf(v, (__private const void*)(size_t)table, at, (ushort)-1, 4);
#elif VW == 8 && defined(__AVX2__)
    return __builtin_ia32_gatherd_ps256(v, (__private const float*)(size_t)table, at, as_float8((int8)(-1)), 4);
#else
    int places[VW];
    float found[VW];
    CAT(vstore, VW)(at, 0, places);
    for (int i = 0; i < VW; i++) found[i] = table[places[i]];
    return OF_ARRAY(found);
#endif
#endif
}
#endif
// FOURS(sums, a, b) adds to each of VW sums the products of four bytes of a and four chars of b: an
// instruction that a TARGET function may have (DeviceProfile.dots).
#if defined(VW) && VW >= 8
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512vnni,avx512vl")))
#if VW == 16
#define FOURS __builtin_ia32_vpdpbusd512
#else
#define FOURS __builtin_ia32_vpdpbusd256
#endif
#else
#define TARGET
#define BYTE(v, i) ((v) >> (8 * (i)) & 255)
#define CHAR(v, i) ((v) << (24 - 8 * (i)) >> 24)
#define FOURS(sum, a, b) ((sum) + BYTE(a, 0) * CHAR(b, 0) + BYTE(a, 1) * CHAR(b, 1) \
                         + BYTE(a, 2) * CHAR(b, 2) + BYTE(a, 3) * CHAR(b, 3))
#endif
#endif
#define UNROLL _Pragma("unroll")
// Wavefronts per SIMD that a kernel wants at least: LLVM then keeps to as many registers as allow it.
#ifdef __AMDGCN__
#define WAVES(n) __attribute__((amdgpu_waves_per_eu(n)))
#else
#define WAVES(n)
#endif
#define ROLLED _Pragma("unroll 1")
