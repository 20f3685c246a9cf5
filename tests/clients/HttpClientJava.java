import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.stream.Collectors;

/** What an app does with the JDK's own HTTP client as it comes, which first offers HTTP/2 in an upgrade: BASE_URL KEY. */
public class HttpClientJava {
    public static void main(String[] arguments) throws Exception {
        String base = arguments[0], key = arguments[1];
        HttpClient client = HttpClient.newHttpClient();
        String question = "{\"model\": \"deepseek-v3.2\", \"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], \"stream\": %s}";
        String large = "x".repeat(300_000);
        HttpResponse<String> whole = client.send(ask(base, key, String.format(question, "Hi", false)), HttpResponse.BodyHandlers.ofString());
        HttpResponse<String> again = client.send(ask(base, key, String.format(question, large, false)), HttpResponse.BodyHandlers.ofString());
        HttpResponse<java.util.stream.Stream<String>> streamed =
            client.send(ask(base, key, String.format(question, "Hi", true)), HttpResponse.BodyHandlers.ofLines());
        List<String> lines = streamed.body().filter(line -> !line.isEmpty()).collect(Collectors.toList());
        HttpRequest list = HttpRequest.newBuilder(URI.create(base + "/models")).header("authorization", "Bearer " + key).build();
        HttpResponse<String> models = client.send(list, HttpResponse.BodyHandlers.ofString());
        HttpResponse<String> refused = client.send(ask(base, "sk-wrong", "{}"), HttpResponse.BodyHandlers.ofString());
        System.out.printf(
            "{\"whole\": [%d, \"%s\", %s], \"again\": %d, \"streamed\": [%d, %d, %b], \"models\": %d, \"refused\": %d}%n",
            whole.statusCode(), whole.version(), whole.body(), again.statusCode(), streamed.statusCode(), lines.size(),
            lines.get(lines.size() - 1).equals("data: [DONE]"), models.statusCode(), refused.statusCode());
    }

    static HttpRequest ask(String base, String key, String body) {
        return HttpRequest.newBuilder(URI.create(base + "/chat/completions"))
            .header("authorization", "Bearer " + key)
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    }
}
