// add_frames: y[n,j,p,o] = sum over k of x[n, i, p, k*O+o] where i*SD + k*DD - PD = j
// x [N,D,P,KD*O], y [N,OD,P,O]; float32. Work-item (b, p, n*OD+j): VW neighbours along O.
// Defines: VW
__kernel void add_frames(__global const float* restrict x, __global float* restrict y, int D,
                         int KD, int SD, int DD, int PD, int OD, int P, int O)
{
    const int p = get_global_id(1), row = get_global_id(2);
    if (get_global_id(0) * VW >= O) return;
    const int o = min((int)get_global_id(0) * VW, O - VW);
    const int n = row / OD, j = row % OD;
    VT v = (VT)(0.0f);
    for (int k = 0; k < KD; k++) {
        const int from = j + PD - k * DD, i = from / SD;
        if (from < 0 || from % SD || i >= D) continue;
        v += VLOAD(x + (((size_t)n * D + i) * P + p) * KD * O + k * O + o);
    }
    VSTORE(v, y + ((size_t)row * P + p) * O + o);
}
