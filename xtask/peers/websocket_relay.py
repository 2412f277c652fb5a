"""Brings AMQP within WebSockets to a broker that knows only TCP: aiohttp's WebSockets, as Azure has them.

Prints its address as JSON, then runs until it is ended.
"""

import asyncio
import json

import adt
from aiohttp import WSMsgType, web

PATH = "/$servicebus/websocket"
SUBPROTOCOL = "AMQPWSB10"
CHUNK_BYTES = 4096

scene = adt.scene()


async def relay(request):
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    assert offered == SUBPROTOCOL, offered
    socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), heartbeat=1)
    await socket.prepare(request)
    host, port = scene["broker"].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))

    async def outwards():
        while chunk := await reader.read(CHUNK_BYTES):
            await socket.send_bytes(chunk)
        await socket.close()

    task = asyncio.create_task(outwards())
    async for message in socket:
        assert message.type == WSMsgType.BINARY, message
        writer.write(message.data)
        await writer.drain()
    task.cancel()
    writer.close()
    return socket


async def main():
    app = web.Application()
    app.router.add_get(PATH, relay)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    print(json.dumps({"relay": f"{host}:{port}"}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
