// nearest: y[n,i,j,c] = x[n, pick(i), pick(j), c] for elements of type T
// x [N,H,W,C], y [N,OH,OW,C]. Work-item (j, i, n): the C values of one pixel.
// pick(i) = floor((i + SHIFT) * scale), or rounded with ALIGN. Defines: T SHIFT ALIGN
inline int pick(int i, float scale, int extent)
{
    const float p = (i + SHIFT) * scale;
    return max(0, min((int)(ALIGN ? round(p) : floor(p)), extent - 1));
}

__kernel void nearest(__global const T* restrict x, __global T* restrict y, int H, int W, int C,
                      int OH, int OW, float scale_y, float scale_x)
{
    const int j = get_global_id(0), i = get_global_id(1), n = get_global_id(2);
    if (j >= OW || i >= OH) return;
    x += ((n * H + pick(i, scale_y, H)) * W + pick(j, scale_x, W)) * C;
    y += ((n * OH + i) * OW + j) * C;
    for (int c = 0; c < C; c++) y[c] = x[c];
}
