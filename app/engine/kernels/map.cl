// map: y[z,a,b,c,d,e] = EXPR of p = x1[...], q = x2[...], r = x3[...], of any element types
// y is dense [Z,A,B,C,D,E]; each operand has its own strides, where 0 repeats it.
// Work-item (d*CH+h, c, (z*A+a)*B+b): chunk h of `per` elements of a row, CH chunks a row.
// Defines: T1 T2 T3 TY (element types) EXPR
// An integer's power; what no int can hold is the least of them.
static inline int power(int base, int exponent)
{
    const long most = 0x7fffffffL;
    if (base == 0) return exponent == 0 ? 1 : exponent < 0 ? INT_MIN : 0;
    if (base == 1 || base == -1) return base < 0 && (exponent & 1) ? -1 : 1;
    if (exponent < 0) return 0;
    long made = 1;
    for (int i = 0; i < exponent; i++) {
        made *= base;
        if (made > most || made < -most - 1) return INT_MIN;
    }
    return (int)made;
}

__kernel void map(__global const T1* restrict x1, __global const T2* restrict x2,
                  __global const T3* restrict x3, __global TY* restrict y,
                  int Z, int A, int B, int C, int D, int E,
                  int z1, int a1, int b1, int c1, int d1, int e1,
                  int z2, int a2, int b2, int c2, int d2, int e2,
                  int z3, int a3, int b3, int c3, int d3, int e3, int per)
{
    const int chunks = (E + per - 1) / per;
    const int d = get_global_id(0) / chunks, c = get_global_id(1), zab = get_global_id(2);
    const int from = get_global_id(0) % chunks * per, to = min(from + per, E);
    if (d >= D || c >= C || zab >= Z * A * B) return;
    const int z = zab / (A * B), a = zab / B % A, b = zab % B;
    x1 += z * z1 + a * a1 + b * b1 + c * c1 + d * d1;
    x2 += z * z2 + a * a2 + b * b2 + c * c2 + d * d2;
    x3 += z * z3 + a * a3 + b * b3 + c * c3 + d * d3;
    y += ((zab * C + c) * D + d) * E;
    for (int e = from; e < to; e++) {
        const T1 p = x1[e * e1];
        const T2 q = x2[e * e2];
        const T3 r = x3[e * e3];
        y[e] = (TY)(EXPR);
    }
}
