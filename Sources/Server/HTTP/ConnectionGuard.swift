import HTTPTypes
import LorikeetRuntime
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Watches over one connection: answers what is no HTTP, and drops clients that have gone or do not read.
///
/// Hummingbird keeps a connection whose client has closed its side, since there may be an answer to write;
/// here such a client counts as gone, so that nothing is generated for nobody.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    // How long a client may go on sending after it was told that this is no HTTP: a connection that is
    // closed before would lose the answer.
    private static let lingering = TimeAmount.seconds(2)

    private let watch: ConnectionWatch
    private let stallTime: TimeAmount
    private var unanswered = 0
    private var isReading = false
    private var isRefused = false
    private var stalling: Scheduled<Void>?

    /// - stallTime: how long a client may leave unread what was written.
    init(_ watch: ConnectionWatch, stallTime: TimeAmount) {
        self.watch = watch
        self.stallTime = stallTime
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isReading = true
            unanswered += 1
        case .body: break
        case .end: isReading = false
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { unanswered -= 1 }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, !isReading, unanswered > 0 {
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        stalling?.cancel()
        watch.ended(ObjectIdentifier(context.channel))
        context.fireChannelInactive()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stalling?.cancel()
        stalling = nil
        if !context.channel.isWritable {
            stalling = close(context, after: stallTime)
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError, !isRefused else {
            return context.fireErrorCaught(error)
        }
        isRefused = true
        // An answer that has begun cannot become another one.
        guard unanswered == (isReading ? 1 : 0) else { return context.close(promise: nil) }
        let answer = Self.answer(to: error)
        let body = ByteBuffer(bytes: answer.json.data())
        let head = HTTPResponse(
            status: answer.status,
            headerFields: [
                .contentType: "application/json", .contentLength: String(body.readableBytes),
                .connection: "close",
            ])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.close(mode: .output, promise: nil)
        stalling = close(context, after: Self.lingering)
    }

    private func close(_ context: ChannelHandlerContext, after time: TimeAmount) -> Scheduled<Void>
    {
        let channel = context.channel
        return context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }

    private static func answer(to error: HTTPParserError) -> APIError {
        switch error {
        case .headerOverflow:
            APIError(
                .requestHeaderFieldsTooLarge, "The headers are longer than the server takes.",
                code: "headers_too_large")
        case .invalidEOFState:
            APIError(
                .badRequest, "The request ended before its body was complete.",
                code: "incomplete_request")
        default: APIError(.badRequest, "This is no HTTP request.", code: "invalid_http")
        }
    }
}
