// copy: y[off + a*ya + b*yb + c*yc + d*yd + e] = x[off' + a*xa + b*xb + c*xc + d*xd + e*xe]
// A strided copy of [A,B,C,D,E] elements of any type: concat, slice, pad, transpose, tile, reverse.
// Work-item (d*CH+h, c, a*B+b): chunk h of `per` elements of a row of E, CH chunks a row; or, with
// per > E, (d, c, a*B+b): per/E rows from d*per/E on.
// Defines: T (the element's type) UNIT (1 where xe = 1)
__kernel void copy(__global const T* restrict x, __global T* restrict y,
                   int A, int B, int C, int D, int E, int xoff, int xa, int xb, int xc, int xd,
                   int xe, int yoff, int ya, int yb, int yc, int yd, int ye, int per)
{
    const int chunks = (E + per - 1) / per;
    const int rows = max(per / E, 1);
    const int first = get_global_id(0) / chunks * rows, last = min(first + rows, D);
    const int c = get_global_id(1), ab = get_global_id(2);
    const int from = get_global_id(0) % chunks * per, to = min(from + per, E);
    if (c >= C || ab >= A * B) return;
    const int a = ab / B, b = ab % B;
    x += xoff + a * xa + b * xb + c * xc;
    y += yoff + a * ya + b * yb + c * yc;
    for (int d = first; d < last; d++)
#if UNIT
    for (int e = from; e < to; e++) y[d * yd + e] = x[d * xd + e];
#else
    for (int e = from; e < to; e++) y[d * yd + e * ye] = x[d * xd + e * xe];
#endif
}

// fill: y[i] = VALUE for i < n. Work-item i: PER elements. Defines: T VALUE
__kernel void fill(__global T* restrict y, int n, int per)
{
    const int from = get_global_id(0) * per, to = min(from + per, n);
    for (int i = from; i < to; i++) y[i] = (T)(VALUE);
}
