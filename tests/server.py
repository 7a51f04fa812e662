"""A web server for tests of downloads, on this machine alone."""
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``files``, a mapping from path to bytes.

    Attributes:
        files (dict[str, bytes]): ``/name`` -> content.
        headers (dict[str, str]): Sent with every answer.
        ranges (bool): Whether parts of files can be asked for.
        cut (int | None): The connection breaks after so many bytes, once.
        requests (list[tuple]): Method, path and asked range of each.
    """

    def __init__(self):
        self.files, self.headers, self.requests = {}, {}, []
        self.ranges, self.cut = True, None
        outer = self

        class Handler(BaseHTTPRequestHandler):

            def do_GET(self):
                self.answer(True)

            def do_HEAD(self):
                self.answer(False)

            def log_message(self, *args):
                pass

            def answer(self, with_body):
                asked = self.headers.get('Range')
                outer.requests.append((self.command, self.path, asked))
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                status, start = 200, 0
                if asked and outer.ranges:
                    start = int(re.match(r'bytes=(\d+)-', asked).group(1))
                    status = 206 if start < len(body) else 416
                self.send_response(status)
                if status == 416:
                    self.send_header('Content-Range', f'bytes */{len(body)}')
                    self.end_headers()
                    return
                part = body[start:]
                self.send_header('Content-Length', str(len(part)))
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    if outer.cut is not None:
                        part, outer.cut = part[:outer.cut], None
                    self.wfile.write(part)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(
            target=self.server.serve_forever, args=(0.01, ),
            daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
