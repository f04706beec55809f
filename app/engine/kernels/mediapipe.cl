// pool_argmax: y = max over the window, place[...] = its number in the window (row by row) + 0.1
// x [N,H,W,C], y and place [N,OH,OW,C]; float32. Work-item (c, j, n*OH+i).
__kernel void pool_argmax(__global const float* restrict x, __global float* restrict y,
                          __global float* restrict place, int H, int W, int C, int OH, int OW,
                          int KH, int KW, int SH, int SW, int PT, int PL, int rows)
{
    const int c = get_global_id(0), j = get_global_id(1), row = get_global_id(2);
    if (c >= C || j >= OW || row >= rows) return;
    const int n = row / OH, top = row % OH * SH - PT, left = j * SW - PL;
    float best = -FLT_MAX;
    int at = 0;
    for (int h = max(0, -top); h < min(KH, H - top); h++)
        for (int w = max(0, -left); w < min(KW, W - left); w++) {
            const float v = x[((n * H + top + h) * W + left + w) * C + c];
            if (v > best) {
                best = v;
                at = h * KW + w;
            }
        }
    y[(row * OW + j) * C + c] = best;
    place[(row * OW + j) * C + c] = at + 0.1f;
}

// unpool: y[window of x[n,i,j,c], place] = x[n,i,j,c]; y was filled with zeros
// x, place [N,H,W,C], y [N,OH,OW,C]; windows do not overlap. Work-item (c, j, n*H+i).
__kernel void unpool(__global const float* restrict x, __global const float* restrict place,
                     __global float* restrict y, int H, int W, int C, int OH, int OW, int KW,
                     int SH, int SW, int PT, int PL, int rows)
{
    const int c = get_global_id(0), j = get_global_id(1), row = get_global_id(2);
    if (c >= C || j >= W || row >= rows) return;
    const int from = (row * W + j) * C + c, at = (int)place[from];
    const int h = row % H * SH - PT + at / KW, w = j * SW - PL + at % KW;
    if (at >= 0 && h >= 0 && h < OH && w >= 0 && w < OW)
        y[((row / H * OH + h) * OW + w) * C + c] = x[from];
}

// transform_bilinear: y[i,j,c] = x at matrix * (j+1/2, i+1/2, 0, 1) - 1/2, bilinear, 0 outside
// x [H,W,C], m [4,4], y [OH,OW,C]; float32. Work-item (c, j, i).
__kernel void transform_bilinear(__global const float* restrict x, __global const float* restrict m,
                                 __global float* restrict y, int H, int W, int C, int OH, int OW)
{
    const int c = get_global_id(0), j = get_global_id(1), i = get_global_id(2);
    if (c >= C || j >= OW || i >= OH) return;
    const float across = m[0] * j + m[1] * i + (m[3] + (m[0] * 0.5f + m[1] * 0.5f - 0.5f));
    const float down = m[4] * j + m[5] * i + (m[7] + (m[4] * 0.5f + m[5] * 0.5f - 0.5f));
    float v = 0.0f;
    if (across >= 0.0f && across <= W - 1 && down >= 0.0f && down <= H - 1) {
        const int w = (int)across, h = (int)down;
        const float right = across - w, lower = down - h;
        // Beyond the last pixel the share is zero: any pixel that exists may stand there.
        const int w1 = min(w + 1, W - 1), h1 = min(h + 1, H - 1);
        const float above = (1.0f - right) * x[(h * W + w) * C + c] + right * x[(h * W + w1) * C + c];
        const float below = (1.0f - right) * x[(h1 * W + w) * C + c]
                          + right * x[(h1 * W + w1) * C + c];
        v = lower * below + (1.0f - lower) * above;
    }
    y[(i * OW + j) * C + c] = v;
}

// transform_landmarks: (y0, y1) = the first two rows of m times (x0, x1, 0, 1); a third stays
// x, y [K,D], m [4,4]; float32. Work-item k.
__kernel void transform_landmarks(__global const float* restrict x, __global const float* restrict m,
                                  __global float* restrict y, int K, int D)
{
    const int k = get_global_id(0);
    if (k >= K) return;
    const float a = x[k * D], b = x[k * D + 1];
    y[k * D] = m[0] * a + m[1] * b + m[3];
    y[k * D + 1] = m[4] * a + m[5] * b + m[7];
    if (D == 3) y[k * D + 2] = x[k * D + 2];
}

// landmarks_matrix: the matrix that maps an OH x OW crop onto the turned box around some landmarks
// x [K,3], subset [COUNT], m [4,4]; float32. One work-item.
__kernel void landmarks_matrix(__global const float* restrict x, __global const int* restrict subset,
                               __global float* restrict m, int count, int left, int right,
                               float target, float height, float width, float scale_x,
                               float scale_y)
{
    if (get_global_id(0) > 0) return;
    const float angle = target - atan2(x[right * 3 + 1] - x[left * 3 + 1],
                                       x[right * 3] - x[left * 3]);
    const float co = cos(angle), si = sin(angle);
    float x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (int k = 0; k < count; k++) {
        const float a = x[subset[k] * 3], b = x[subset[k] * 3 + 1];
        const float u = co * a - si * b, v = si * a + co * b;
        x0 = min(x0, u);
        x1 = max(x1, u);
        y0 = min(y0, v);
        y1 = max(y1, v);
    }
    const float u = (x0 + x1) / 2, v = (y0 + y1) / 2;
    const float sx = scale_x * (x1 - x0) / width, sy = scale_y * (y1 - y0) / height;
    for (int k = 0; k < 16; k++) m[k] = k % 5 == 0 ? 1.0f : 0.0f;
    m[0] = co * sx;
    m[1] = si * sy;
    m[3] = co * u + si * v - m[0] * width / 2 - m[1] * height / 2;
    m[4] = -si * sx;
    m[5] = co * sy;
    m[7] = -si * u + co * v - m[4] * width / 2 - m[5] * height / 2;
}
