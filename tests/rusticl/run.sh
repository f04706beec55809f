#!/bin/sh
# Runs Python on Mesa's rusticl (llvmpipe), the OpenCL that an RX 580 has today, from Debian 13.
# usage: tests/rusticl/run.sh CACHE SHARED [argument of python3...]   (as root)
# Builds CACHE/root once (1.4 GB, about 2 minutes); SHARED is /shared inside, the project /project.
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
cache=$1 shared=$2
shift 2
release=trixie
root=$cache/root
packages=python3,python3-pyopencl,python3-numpy,mesa-opencl-icd,ocl-icd-libopencl1

mirror() {
    # The one that apt uses here; debootstrap's own default if there is none.
    apt-get indextargets --format '$(SITE)' 2>/dev/null | grep '/debian/\{0,1\}$' | sort -u | head -n 1
}

if [ ! -e "$cache/ready" ]; then
    echo "Building $root with Debian $release and Mesa's rusticl (about 2 minutes)" >&2
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase --include="$packages" "$release" "$root" $(mirror) \
        >"$cache/debootstrap.log" 2>&1 || { tail -n 20 "$cache/debootstrap.log" >&2; exit 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb
    touch "$cache/ready"
fi
mkdir -p "$root/project" "$root/shared" "$root/packages" "$cache/packages" "$cache/shaders" \
    "$root/shaders"

# In a mount namespace of its own: whatever happens, the mounts go when the last process goes.
export project root shared cache
exec unshare --mount --propagation private sh -c '
    set -eu
    for part in proc sys dev; do mount --rbind "/$part" "$root/$part"; done
    mount --bind "$project" "$root/project"
    mount -o remount,ro,bind "$root/project"
    mount --bind "$shared" "$root/shared"
    mount --bind "$cache/packages" "$root/packages"
    mount --bind "$cache/shaders" "$root/shaders"
    exec chroot "$root" env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/project:/packages \
        PYTHONDONTWRITEBYTECODE=1 RUSTICL_ENABLE=llvmpipe MESA_SHADER_CACHE_DIR=/shaders \
        sh -c "cd /project && exec python3 \"\$@\"" python3 "$@"
' sh "$@"
