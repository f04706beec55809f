// cast: y[i] = CONVERT(x[i] + offset), from one element type to another; half is only so in memory
// Work-item i: elements i*PER to (i+1)*PER-1. Defines: TX TY (types) TC (the type to add in)
// CONVERT(v) PER | X16 Y16 (TX or TY is half)
#if X16
#define FROM(i) vload_half(i, x)
#else
#define FROM(i) x[i]
#endif
#if Y16
#define INTO(i, v) vstore_half_rte(v, i, y)
#else
#define INTO(i, v) (y[i] = (v))
#endif
__kernel void cast(__global const TX* restrict x, __global TY* restrict y, int n, int offset)
{
    const int from = get_global_id(0) * PER, to = min(from + PER, n);
    for (int i = from; i < to; i++) INTO(i, CONVERT((TC)FROM(i) + (TC)offset));
}
