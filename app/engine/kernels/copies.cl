// copies: COUNT independent copies, copy i: y[yoff + d*yd + e*ye] = x[xoff + d*xd + e*xe], d < D, e < E
// Each takes rows of E elements of any type from one tensor to another; none touches what another
// writes. Work-item (d*CH+h, i): chunk h of `per` elements of row d of copy i, CH chunks a row; or,
// with per > E, (d, i): per/E rows from d*per/E on.
// Defines: T (the element's type) COUNT (2 to 8) UNIT (1 where all xe and ye are 1, and no arguments)
#if UNIT
#define STEPS(i)
#define GIVEN(i) , 1, 1
#else
#define STEPS(i) , int xe##i, int ye##i
#define GIVEN(i) , xe##i, ye##i
#endif
#define COPY(i) , __global const T *x##i, __global T *y##i, int D##i, int E##i, int xoff##i, \
                  int xd##i, int yoff##i, int yd##i, int per##i STEPS(i)
#define RUN(i) case i: rows(get_global_id(0), x##i, y##i, D##i, E##i, xoff##i, xd##i, yoff##i, \
                            yd##i, per##i GIVEN(i)); break;
#define LIST_2(M) M(1)
#define LIST_3(M) LIST_2(M) M(2)
#define LIST_4(M) LIST_3(M) M(3)
#define LIST_5(M) LIST_4(M) M(4)
#define LIST_6(M) LIST_5(M) M(5)
#define LIST_7(M) LIST_6(M) M(6)
#define LIST_8(M) LIST_7(M) M(7)
#define OTHERS CAT(LIST_, COUNT)

static inline void rows(int item, __global const T* restrict x, __global T* restrict y, int D,
                        int E, int xoff, int xd, int yoff, int yd, int per, int xe, int ye)
{
    const int chunks = (E + per - 1) / per, rows = max(per / E, 1);
    const int first = item / chunks * rows, last = min(first + rows, D);
    const int from = item % chunks * per, to = min(from + per, E);
    x += xoff;
    y += yoff;
    for (int d = first; d < last; d++)
        for (int e = from; e < to; e++) y[d * yd + e * ye] = x[d * xd + e * xe];
}

__kernel void copies(__global const T* x0, __global T* y0, int D0, int E0, int xoff0, int xd0,
                     int yoff0, int yd0, int per0 STEPS(0) OTHERS(COPY))
{
    switch (get_global_id(1)) {
        RUN(0)
        OTHERS(RUN)
    }
}
