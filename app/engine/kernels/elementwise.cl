// elementwise: y[r,k] = epilogue(x[r,k])
// x, y [R,K]; XT, YT. Without operands per channel the caller passes one row, R = 1, K = size.
// Work-item (i, r): PER vectors of row r from i*PER on; the last vector is moved back to fit.
// Defines: VW PER
__kernel void elementwise(__global const XT* restrict x, __global YT* restrict y,
                          int R, int K EPI_PARAMS)
{
    const int vectors = (K + VW - 1) / VW;
    const int items = (vectors + PER - 1) / PER;
    const int r = AXIS1(items);
    const int from = AXIS0(items) * PER;
    const int to = min(from + PER, vectors);
    if (r >= R) return;
    for (int i = from; i < to; i++) {
        const int c = min(i * VW, K - VW);
        const int idx = r * K + c;
        VT v = XLOAD(x + idx);
        EPILOGUE
        KEEP(v, y + idx);
    }
}
