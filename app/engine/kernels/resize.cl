// resize_bilinear: y[n,i,j,c] = epilogue(lerp of the four x around (i*SY, j*SX))
// x [N,H,W,C], y [N,OH,OW,C]; XT, YT. Work-item (b, s, n*OH+i): BLOCKS x VW channels of RUN
// pixels.
// Args: scale, shift and offset map an output pixel to the input, along each axis:
// position = (i + shift) * scale - offset.
// Defines: VW BLOCKS RUN
__kernel void resize_bilinear(__global const XT* restrict x, __global YT* restrict y,
                              int H, int W, int C, int OH, int OW,
                              float scale_y, float shift_y, float offset_y,
                              float scale_x, float shift_x, float offset_x EPI_PARAMS)
{
    const int blocks = (C + VW - 1) / VW;
    const int items = (blocks + BLOCKS - 1) / BLOCKS;
    const int first = AXIS0(items) * BLOCKS, last = min(first + BLOCKS, blocks);
    const int row = get_global_id(2);
    const int n = row / OH, i = row % OH;
    const float py = (i + shift_y) * scale_y - offset_y;
    const int h0 = max((int)floor(py), 0), h1 = min((int)ceil(py), H - 1);
    const float fy = py - h0;
    __global const XT* top = x + (n * H + h0) * W * C;
    __global const XT* low = x + (n * H + max(h1, 0)) * W * C;
    const int begin = AXIS1(items) * RUN, to = min(begin + RUN, OW);
    for (int j = begin; j < to; j++) {
        const float px = (j + shift_x) * scale_x - offset_x;
        const int w0 = max((int)floor(px), 0), w1 = max(min((int)ceil(px), W - 1), 0);
        const float fx = px - w0;
        const float ka = (1.0f - fy) * (1.0f - fx), kb = (1.0f - fy) * fx;
        const float kd = fy * (1.0f - fx), ke = fy * fx;
        for (int b = first; b < last; b++) {
            const int c = min(b * VW, C - VW);
            VT v = XLOAD(top + w0 * C + c) * ka + XLOAD(top + w1 * C + c) * kb
                 + XLOAD(low + w0 * C + c) * kd + XLOAD(low + w1 * C + c) * ke;
            const int idx = (row * OW + j) * C + c;
            EPILOGUE
            YSTORE(v, y + idx);
        }
    }
}
