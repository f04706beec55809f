// pool: y[n,i,j,c] = epilogue(max or mean of x over the part of the window that lies in the image)
// x [N,H,W,C], y [N,OH,OW,C]; XT, YT. Work-item (b, j, n*OH+i): VW channels of one output.
// Defines: VW | INIT, STEP(v, x) and SCALE (on v, with int count of pixels)
__kernel void pool(__global const XT* restrict x, __global YT* restrict y,
                   int H, int W, int C, int OH, int OW, int KH, int KW, int SH, int SW,
                   int PT, int PL EPI_PARAMS)
{
    const int vectors = (C + VW - 1) / VW;
    const int j = AXIS1(vectors), row = get_global_id(2);
    if (AXIS0(vectors) * VW >= C || j >= OW) return;
    const int c = min(AXIS0(vectors) * VW, C - VW);
    const int n = row / OH, i = row % OH;
    const int top = i * SH - PT, left = j * SW - PL;
    const int h1 = min(top + KH, H), w1 = min(left + KW, W);
    const int h0 = max(top, 0), w0 = max(left, 0);
    const int count = (h1 - h0) * (w1 - w0);
    VT v = (VT)(INIT);
    for (int h = h0; h < h1; h++)
        for (int w = w0; w < w1; w++) {
            const VT in = XLOAD(x + ((n * H + h) * W + w) * C + c);
            STEP
        }
    SCALE
    const int idx = (row * OW + j) * C + c;
    EPILOGUE
    YSTORE(v, y + idx);
}
