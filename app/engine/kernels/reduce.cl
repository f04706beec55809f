// reduce: y[a,b,c] = epilogue(FINISH(fold of STEP over p,q of x[a,p,b,q,c]))
// x [A,P,B,Q,C], y [A,B,C]; float32. Work-item (k, b, a): VW neighbours along C. An epilogue sees
// channels of L, which vectors do not cross.
// Defines: VW | INIT STEP DONE (text on v and in; DONE may use int count)
__kernel void reduce(__global const float* restrict x, __global float* restrict y,
                     int A, int P, int B, int Q, int C, int L EPI_PARAMS)
{
    if (get_global_id(0) * VW >= C) return;
    const int at = min((int)get_global_id(0) * VW, C - VW);
    const int b = get_global_id(1), a = get_global_id(2);
    const int count = P * Q;
    VT v = (VT)(INIT);
    for (int p = 0; p < P; p++) {
        __global const float* xp = x + ((a * P + p) * B + b) * Q * C + at;
        for (int q = 0; q < Q; q++) {
            const VT in = VLOAD(xp + q * C);
            STEP
        }
    }
    DONE
    const int idx = (a * B + b) * C + at, c = idx % L;
    EPILOGUE
    VSTORE(v, y + idx);
}
