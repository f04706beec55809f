// cast: y[i] = CONVERT(x[i] + offset), from one element type to another
// Work-item i: elements i*PER to (i+1)*PER-1. Defines: TX TY (types) TC (the type to add in)
// CONVERT(v) PER
__kernel void cast(__global const TX* restrict x, __global TY* restrict y, int n, int offset)
{
    const int from = get_global_id(0) * PER, to = min(from + PER, n);
    for (int i = from; i < to; i++) y[i] = CONVERT((TC)x[i] + (TC)offset);
}
