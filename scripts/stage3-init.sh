# Stage3s that boot, for stage3-mirror.sh. Sourced by it, where KILN_STAGE3_INIT says which init: openrc or systemd.
#
# They have the names that Gentoo's have, amd64-hardened-openrc and amd64-systemd; files are where Gentoo has them, and the programs
# Debian's. What Debian's packages would do when they are configured is done here.
# shellcheck shell=bash

# Packages that the stage3 has besides, by init.
init_packages() {
    echo hostname iproute2 procps
    case $1 in
    openrc) echo mount openrc sysvinit-core ;;
    systemd) echo systemd systemd-sysv udev ;;
    *) die "$1 is no init: openrc or systemd" ;;
    esac
}

# The stage3's name, without the arch.
init_name() {
    case $1 in
    openrc) echo hardened-openrc ;;
    systemd) echo systemd ;;
    esac
}

add_init() {
    local root=$1 init=$2
    echo localhost >"$root/etc/hostname"
    [[ $init == openrc ]] || return 0
    # As in sys-apps/sysvinit, shortened.
    cat >"$root/etc/inittab" <<'END'
id:3:initdefault:
si::sysinit:/sbin/openrc sysinit
rc::bootwait:/sbin/openrc boot
l0:0:wait:/sbin/openrc shutdown
l3:3:wait:/sbin/openrc default
l6:6:wait:/sbin/openrc reboot
c1:12345:respawn:/sbin/agetty --noclear 38400 tty1 linux
c2:2345:respawn:/sbin/agetty 38400 tty2 linux
#s0:12345:respawn:/sbin/agetty -L 9600 ttyS0 vt100
ca:12345:ctrlaltdel:/sbin/shutdown -r now
END
    # Debian has OpenRC without its services. These do what a test needs of them.
    rm -rf "$root"/etc/init.d/* "$root"/etc/rc?.d
    service "$root" sysinit kernel-filesystems <<'END'
    mountinfo -q /sys || mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    mkdir -p /dev/pts /dev/shm
    ln -snf /proc/self/fd /dev/fd
    mountinfo -q /dev/pts || mount -t devpts -o gid=5,mode=0620 devpts /dev/pts
    mountinfo -q /dev/shm || mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
END
    service "$root" boot root <<'END'
    mount -o remount,rw /
END
    service "$root" boot hostname <<'END'
    . /etc/conf.d/hostname
    hostname "$hostname"
END
    service "$root" boot loopback <<'END'
    ip link set lo up
END
    mkdir -p "$root/etc/conf.d"
    echo 'hostname="localhost"' >"$root/etc/conf.d/hostname"
}

# service ROOT RUNLEVEL NAME: what starts it is read.
service() {
    mkdir -p "$1/etc/init.d" "$1/etc/runlevels/$2"
    { printf '#!/sbin/openrc-run\nstart() {\n    ebegin "%s"\n' "$3" && cat && printf '    eend $?\n}\n'; } >"$1/etc/init.d/$3"
    chmod 755 "$1/etc/init.d/$3"
    ln -sfn "/etc/init.d/$3" "$1/etc/runlevels/$2/$3"
}
