"""A small RTSP server (RFC 2326) for one client, which sends it H.264 over UDP."""

import re
import socket
import threading
import time

import av

SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=test
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:0
""".replace("\n", "\r\n")


def serve(frames_THWC):
    """Serve frames, one after another for ever, to the first client; returns the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_answer, args=(listener, frames_THWC), daemon=True).start()
    return f"rtsp://127.0.0.1:{listener.getsockname()[1]}/camera"


def _answer(listener, frames_THWC):
    client, _ = listener.accept()
    port, done = 0, threading.Event()
    with listener, client, client.makefile("rwb") as lines:
        while request := lines.readline().decode():
            headers = {}
            while line := lines.readline().decode().strip():
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            method, answer, body = request.split()[0], [f"CSeq: {headers['cseq']}"], ""
            if method == "OPTIONS":
                answer.append("Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = SDP
                answer += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                port = int(re.search(r"client_port=(\d+)", headers["transport"])[1])
                answer.append(f"Transport: {headers['transport']};server_port=5000-5001")
            answer.append("Session: 1")
            lines.write("\r\n".join(["RTSP/1.0 200 OK", *answer, "", body]).encode())
            lines.flush()
            if method == "PLAY":
                threading.Thread(target=_send, args=(frames_THWC, port, done), daemon=True).start()
        done.set()


def _send(frames_THWC, port, done):
    # A key frame with its headers every few frames, since the client joins at any of them.
    options = {"crf": "1", "tune": "zerolatency", "x264-params": "repeat-headers=1:keyint=4"}
    with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], "yuv420p"
        number = 0
        while not done.is_set():
            frame = av.VideoFrame.from_ndarray(frames_THWC[number % len(frames_THWC)])
            frame.pts, number = number, number + 1
            container.mux(stream.encode(frame))
            time.sleep(0.02)
