// broadcast: y[z,a,b,c,d,e] = epilogue(OP(x1[...], x2[...])), each operand with its own strides
// y is dense [Z,A,B,C,D,E]; a stride of 0 repeats an operand. XT, X2T, YT.
// Work-item (d, c, (z*A+a)*B+b): one row of E, whose last vector is moved back to fit; (d*E+e, c, ..)
// with FLAT: one element. An epilogue sees channels of L. Defines: VW (1 with FLAT), OP(v, o) FLAT
#if VW == 1
#define OPERAND(LOAD, p, step) LOAD((p) + at * (step))
#else
#define OPERAND(LOAD, p, step) ((step) ? LOAD((p) + at) : (VT)(*(p)))
#endif
__kernel void broadcast(__global const XT* restrict x1, __global const X2T* restrict x2,
                        __global YT* restrict y, int Z, int A, int B, int C, int D,
                        int E, int z1, int a1, int b1, int c1, int d1, int e1,
                        int z2, int a2, int b2, int c2, int d2, int e2, int L EPI_PARAMS)
{
#ifdef FLAT
    const int d = get_global_id(0) / E, from = get_global_id(0) % E, to = from + 1;
#else
    const int d = get_global_id(0), from = 0, to = E;
#endif
    const int k = get_global_id(1), zab = get_global_id(2);
    if (d >= D || k >= C || zab >= Z * A * B) return;
    const int z = zab / (A * B), a = zab / B % A, b = zab % B;
    x1 += z * z1 + a * a1 + b * b1 + k * c1 + d * d1;
    x2 += z * z2 + a * a2 + b * b2 + k * c2 + d * d2;
    for (int e = from; e < to; e += VW) {
        const int at = min(e, to - VW);
        const int idx = ((zab * C + k) * D + d) * E + at, c = idx % L;
        VT v = OPERAND(XLOAD, x1, e1);
        const VT other = OPERAND(X2LOAD, x2, e2);
        OP
        EPILOGUE
        YSTORE(v, y + idx);
    }
}
