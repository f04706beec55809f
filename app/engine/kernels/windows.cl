// windows: y[o] = STEP of all x in the window at o, INIT standing for what is outside of x
// x [X0..X4], y [Y0..Y4], missing extents are 1 at the front; any element type T. Window K, stride S,
// dilation D, padding before P. Work-item (h, Y2*Y3, Y0*Y1): chunk h of `per` outputs along Y4.
// Defines: T INIT STEP(a, b)
__kernel void windows(__global const T* restrict x, __global T* restrict y,
                      int X0, int X1, int X2, int X3, int X4, int Y0, int Y1, int Y2, int Y3, int Y4,
                      int K0, int K1, int K2, int K3, int K4, int S0, int S1, int S2, int S3, int S4,
                      int D0, int D1, int D2, int D3, int D4, int P0, int P1, int P2, int P3, int P4,
                      int per)
{
    const int from = get_global_id(0) * per, to = min(from + per, Y4);
    if (get_global_id(1) >= Y2 * Y3 || get_global_id(2) >= Y0 * Y1) return;
    const int o3 = get_global_id(1) % Y3, o2 = get_global_id(1) / Y3;
    const int o1 = get_global_id(2) % Y1, o0 = get_global_id(2) / Y1;
    y += (((size_t)o0 * Y1 + o1) * Y2 + o2) * Y3 * Y4 + (size_t)o3 * Y4;
    for (int o4 = from; o4 < to; o4++) {
        T v = INIT;
        for (int k0 = 0, p0 = o0 * S0 - P0; k0 < K0; k0++, p0 += D0)
        for (int k1 = 0, p1 = o1 * S1 - P1; k1 < K1; k1++, p1 += D1)
        for (int k2 = 0, p2 = o2 * S2 - P2; k2 < K2; k2++, p2 += D2)
        for (int k3 = 0, p3 = o3 * S3 - P3; k3 < K3; k3++, p3 += D3) {
            const int outside = p0 < 0 || p0 >= X0 || p1 < 0 || p1 >= X1 || p2 < 0 || p2 >= X2
                                || p3 < 0 || p3 >= X3;
            const size_t row = outside ? 0 : (((size_t)p0 * X1 + p1) * X2 + p2) * X3 + p3;
            for (int k4 = 0, p4 = o4 * S4 - P4; k4 < K4; k4++, p4 += D4) {
                T in = INIT;
                if (!outside && p4 >= 0 && p4 < X4) in = x[row * X4 + p4];
                v = STEP(v, in);
            }
        }
        y[o4] = v;
    }
}
