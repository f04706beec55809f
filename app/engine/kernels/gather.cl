// gather: y[b,o,i,n] = x[b,o,index[b,i],n]
// x [B,O,X,N], index [B,I], y [B,O,I,N]; any element type T, index type TI. An index outside
// [0,X) reads the nearest one that exists.
// Work-item (h, i, b*O+o): chunk h of `per` elements of N. Defines: T TI
__kernel void gather(__global const T* restrict x, __global const TI* restrict index,
                     __global T* restrict y, int B, int O, int X, int I, int N, int per)
{
    const int i = get_global_id(1), bo = get_global_id(2), b = bo / O;
    const int from = get_global_id(0) * per, to = min(from + per, N);
    if (i >= I || bo >= B * O) return;
    const int at = (int)clamp(index[b * I + i], (TI)0, (TI)(X - 1));
    x += ((size_t)bo * X + at) * N;
    y += ((size_t)bo * I + i) * N;
    for (int n = from; n < to; n++) y[n] = x[n];
}

// gather_nd: y[i,n] = x[index[i,0], ..., index[i,D-1], n]
// x [X0,..,X(D-1),N], index [I,D], y [I,N]; D <= 5, missing extents are 1 at the front.
// Work-item (h, i): chunk h of `per` elements of N.
__kernel void gather_nd(__global const T* restrict x, __global const TI* restrict index,
                        __global T* restrict y, int I, int D, int N, int X0, int X1, int X2,
                        int X3, int X4, int per)
{
    const int i = get_global_id(1);
    const int from = get_global_id(0) * per, to = min(from + per, N);
    if (i >= I) return;
    const int extents[5] = {X0, X1, X2, X3, X4};
    size_t at = 0;
    for (int d = 0; d < D; d++) {
        const int extent = extents[5 - D + d];
        at = at * extent + (int)clamp(index[i * D + d], (TI)0, (TI)(extent - 1));
    }
    x += at * N;
    y += (size_t)i * N;
    for (int n = from; n < to; n++) y[n] = x[n];
}

// reversed_rows: y[o,p,m,q,n] = x[o,p',m,q',n]: one of p and q counts the lines, the other the places in
// them, of which so many as length[line] are in the other order, the rest as they were
// x, y [O,P,M,Q,N]; length holds a number for each line. Work-item (h, q, (o*P+p)*M+m): chunk h of
// `per` elements of N. Defines: T TI
__kernel void reversed_rows(__global const T* restrict x, __global const TI* restrict length,
                            __global T* restrict y, int O, int P, int M, int Q, int N,
                            int lines_first, int per)
{
    const int q = get_global_id(1), opm = get_global_id(2), p = opm / M % P;
    const int from = get_global_id(0) * per, to = min(from + per, N);
    if (q >= Q || opm >= O * P * M) return;
    const int line = lines_first ? p : q, at = lines_first ? q : p;
    const int count = (int)clamp(length[line], (TI)0, (TI)(lines_first ? Q : P));
    const int shift = at < count ? count - 1 - 2 * at : 0;
    y += ((size_t)opm * Q + q) * N;
    x += ((size_t)(opm + (lines_first ? 0 : shift * M)) * Q + q + (lines_first ? shift : 0)) * N;
    for (int n = from; n < to; n++) y[n] = x[n];
}

// one_hot: y[o,k,i] = index[o,i] == k ? on : off
// index [O,I], y [O,K,I]. Work-item (i, k, o).
__kernel void one_hot(__global const TI* restrict index, __global const T* restrict on,
                      __global const T* restrict off, __global T* restrict y, int O, int K, int I)
{
    const int i = get_global_id(0), k = get_global_id(1), o = get_global_id(2);
    if (i >= I || k >= K || o >= O) return;
    y[((size_t)o * K + k) * I + i] = index[o * I + i] == k ? on[0] : off[0];
}

// scatter_places: place[i] = the slice that index[i,0..D-1] names among extents, -1 if there is none
// index [I,D], place [I]; D <= 5, missing extents are 1 at the front. Work-item i. Defines: TI
__kernel void scatter_places(__global const TI* restrict index, __global int* restrict place, int I,
                             int D, int X0, int X1, int X2, int X3, int X4)
{
    const int i = get_global_id(0);
    if (i >= I) return;
    const int extents[5] = {X0, X1, X2, X3, X4};
    int at = 0;
    for (int d = 0; d < D; d++) {
        const int extent = extents[5 - D + d];
        const TI own = index[i * D + d];
        at = at < 0 || own < 0 || own >= extent ? -1 : at * extent + (int)own;
    }
    place[i] = at;
}

// scatter: y[o,n] = START(o,n), then STEP(y[o,n], x[i,n]) for the i with place[i] = o, in their order
// place [I], x [I,N], base and y [O,N]; any element type T. Work-item (h, o): chunk h of `per`
// elements of N. Defines: T START(at) STEP(a, b)
#ifdef STEP
__kernel void scatter(__global const int* restrict place, __global const T* restrict x,
                      __global const T* restrict base, __global T* restrict y, int I, int N, int O,
                      int per)
{
    const int o = get_global_id(1);
    const int from = get_global_id(0) * per, to = min(from + per, N);
    if (o >= O) return;
    for (int n = from; n < to; n++) y[(size_t)o * N + n] = START((size_t)o * N + n);
    y += (size_t)o * N;
    for (int i = 0; i < I; i++)
        if (place[i] == o)
            for (int n = from; n < to; n++) {
                const T b = x[(size_t)i * N + n];
                y[n] = STEP(y[n], b);
            }
}
#endif

// update: y = x, but for the box of u that begins at start, moved so far that it fits
// x, y [X0..X4], u [U0..U4], start [D]: missing extents are 1 at the front; any element type T,
// index type TI. Work-item (d*CH+h, c, a*B+b): chunk h of `per` elements of a row of x, CH a row.
__kernel void update(__global const T* restrict x, __global const T* restrict u,
                     __global const TI* restrict start, __global T* restrict y, int D,
                     int X0, int X1, int X2, int X3, int X4, int U0, int U1, int U2, int U3, int U4,
                     int per)
{
    const int chunks = (X4 + per - 1) / per;
    const int row = get_global_id(0) / chunks;
    const int from = get_global_id(0) % chunks * per, to = min(from + per, X4);
    if (row >= X3 || get_global_id(1) >= X2 || get_global_id(2) >= X0 * X1) return;
    const int extents[5] = {X0, X1, X2, X3, X4}, box[5] = {U0, U1, U2, U3, U4};
    const int place[4] = {(int)get_global_id(2) / X1, (int)get_global_id(2) % X1,
                          (int)get_global_id(1), row};
    int first[5], at = 0, source = 0, inside = 1;
    for (int k = 0; k < 5; k++) {
        const TI wanted = k < 5 - D ? 0 : start[k - (5 - D)];
        first[k] = (int)clamp(wanted, (TI)0, (TI)(extents[k] - box[k]));
        if (k == 4) break;
        const int own = place[k] - first[k];
        inside &= own >= 0 && own < box[k];
        source = source * box[k] + own;
        at = at * extents[k] + place[k];
    }
    for (int e = from; e < to; e++) {
        const int own = e - first[4];
        y[(size_t)at * X4 + e] = inside && own >= 0 && own < U4 ? u[(size_t)source * U4 + own]
                                                                 : x[(size_t)at * X4 + e];
    }
}

// pick: y[i] = place[i] ? x[place[i] - 1] : 0
// y [N]. Work-item h: chunk h of `per` elements.
__kernel void pick(__global const T* restrict x, __global const int* restrict place,
                   __global T* restrict y, int N, int per)
{
    const int from = get_global_id(0) * per, to = min(from + per, N);
    for (int i = from; i < to; i++) y[i] = place[i] ? x[place[i] - 1] : (T)0;
}
