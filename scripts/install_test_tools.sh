#!/usr/bin/env bash
# Install what the tests need beside Python packages: GStreamer's RTSP server with the system
# Python's bindings (scripts/rtsp_server.py), and an MQTT broker. Does nothing when they are there.
set -euo pipefail

packages=(
  gir1.2-gst-rtsp-server-1.0 # the server and its bindings
  gstreamer1.0-plugins-base  # appsrc, appsink
  gstreamer1.0-plugins-good  # qtdemux, matroskademux, rtph264pay
  gstreamer1.0-plugins-bad   # h264parse
  python3-gi
  mosquitto                  # the broker, and mosquitto_passwd
  openssl                    # certificates of servers on the loopback
)
check='import gi; gi.require_version("GstRtspServer", "1.0"); gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp, GstRtspServer; Gst.init(None)
names = ("appsrc", "appsink", "qtdemux", "matroskademux", "h264parse", "rtph264pay")
raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in names))'

has_programs() {
  { [ -x /usr/sbin/mosquitto ] || command -v mosquitto; } && command -v openssl
} >/dev/null

if [ -x /usr/bin/python3 ] && /usr/bin/python3 -c "$check" 2>/dev/null && has_programs; then
  echo "test tools: GStreamer's RTSP server and mosquitto are there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "test tools: expected Debian or Ubuntu (apt-get); install GStreamer's RTSP server (1.0)," \
    "its Python bindings and mosquitto yourself, or leave it: the tests that need it are skipped" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "test tools: expected root to install ${packages[*]}; run: sudo bash scripts/install_test_tools.sh" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
/usr/bin/python3 -c "$check"
has_programs
echo "test tools: GStreamer's RTSP server and mosquitto installed"
