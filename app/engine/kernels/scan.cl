// All on x [A,K,C] of type T, along K.
// arg: y[a,c] = the first k where x[a,k,c] is BETTER(v, best) than all before
// Work-item (c, a). Defines: T TY BETTER(v, best)
__kernel void arg(__global const T* restrict x, __global TY* restrict y, int A, int K, int C)
{
    const int c = get_global_id(0), a = get_global_id(1);
    if (c >= C || a >= A) return;
    x += (size_t)a * K * C + c;
    T best = x[0];
    int at = 0;
    for (int k = 1; k < K; k++) {
        const T v = x[k * C];
        if (BETTER(v, best)) {
            best = v;
            at = k;
        }
    }
    y[a * C + c] = (TY)at;
}

// running: y[a,k,c] = JOIN of x[a,0..k,c] beginning with FIRST, without the last term if exclusive,
// from the end if reverse. Work-item (c, a). Defines: T FIRST JOIN(a, b)
#ifdef FIRST
__kernel void running(__global const T* restrict x, __global T* restrict y, int A, int K, int C,
                      int exclusive, int reverse)
{
    const int c = get_global_id(0), a = get_global_id(1);
    if (c >= C || a >= A) return;
    T all = FIRST;
    for (int i = 0; i < K; i++) {
        const size_t at = ((size_t)a * K + (reverse ? K - 1 - i : i)) * C + c;
        const T v = x[at];
        const T with = JOIN(all, v);
        y[at] = exclusive ? all : with;
        all = with;
    }
}
#endif

// top: the N largest of each row of x [A,K], largest first, earlier first among equals; NaN is above
// all numbers, so that each place is given once. values [A,N], places [A,N]. Work-item a.
#define ABOVE(p, q) ((p) > (q) || ((p) != (p) && (q) == (q)))
__kernel void top(__global const T* restrict x, __global T* restrict values,
                  __global TY* restrict places, int A, int K, int N)
{
    const int a = get_global_id(0);
    if (a >= A) return;
    x += (size_t)a * K;
    T last = 0;
    int before = -1;
    for (int n = 0; n < N; n++) {
        int at = -1;
        for (int k = 0; k < K; k++) {
            const T v = x[k];
            const bool left = before < 0 || ABOVE(last, v) || (!ABOVE(v, last) && k > before);
            if (left && (at < 0 || ABOVE(v, x[at]))) at = k;
        }
        at = max(at, 0);
        last = x[at];
        before = at;
        values[(size_t)a * N + n] = last;
        places[(size_t)a * N + n] = (TY)at;
    }
}

#ifdef STEP
// fold: y[a,b,c] = fold of STEP over p,q of x[a,p,b,q,c], beginning with INIT; whole numbers
// x [A,P,B,Q,C], y [A,B,C]. Work-item (c, b, a). Defines: T INIT STEP (text on v and in)
__kernel void fold(__global const T* restrict x, __global T* restrict y, int A, int P, int B, int Q,
                   int C)
{
    const int c = get_global_id(0), b = get_global_id(1), a = get_global_id(2);
    if (c >= C || b >= B || a >= A) return;
    x += (((size_t)a * P * B) + b) * Q * C + c;
    T v = INIT;
    for (int p = 0; p < P; p++)
        for (int q = 0; q < Q; q++) {
            const T in = x[((size_t)p * B * Q + q) * C];
            STEP;
        }
    y[((size_t)a * B + b) * C + c] = v;
}
#endif
