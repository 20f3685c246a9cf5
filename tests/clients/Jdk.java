import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** A stock client over http: it offers HTTP/2 with its first request, and again until that is taken. */
class Jdk {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (var body : new String[] {arguments[1], arguments[1]}) {
            var request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            var response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.version() + " " + response.body().strip());
        }
    }
}
